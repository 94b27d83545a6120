//! The kobune binary: parse, assemble, supervise.

fn main() {}
