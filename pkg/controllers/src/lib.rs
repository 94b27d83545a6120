//! One loop, one table, one file per controller.
