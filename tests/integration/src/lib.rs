//! The API through real kubectl and HTTP.
