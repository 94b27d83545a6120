//! The house rules, tested: which room may know which, where each outside crate lives.
//!
//! The longest files and functions are reported, not failed on: a look is wanted, not a number.

#[cfg(test)]
mod arrows;
#[cfg(test)]
mod lengths;
#[cfg(test)]
mod manifest;
