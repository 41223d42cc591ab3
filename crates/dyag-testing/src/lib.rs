//! Fixtures and tolerances for the tests of the other crates.
#![forbid(unsafe_code)]
