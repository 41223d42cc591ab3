//! dyag
fn main() {}
