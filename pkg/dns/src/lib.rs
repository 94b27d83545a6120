//! Names to answers.
