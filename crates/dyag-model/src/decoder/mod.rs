//! One decoder for all families, with hand-written forward and backward.

mod pack;

pub use pack::{Pack, Target};
