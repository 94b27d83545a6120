//! The house rules, tested.
