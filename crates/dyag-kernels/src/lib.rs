//! Fused numeric operations over slices, memory-mapped weights, and device buffers.
//!
//! The only crate of the project with `unsafe`. It knows matrices and token layouts, and nothing of models, files of models or text.
//!
//! Shape letters, used everywhere below: T tokens (rows), C channels of the residual stream, F channels inside the feed-forward block,
//! H query heads, G key/value heads, D head size, V vocabulary, R adapter rank.

pub mod cpu;
pub mod cpu_device;
pub mod device;
pub mod map;
pub mod quant;
pub mod random;
pub mod reference;
pub mod rounding;
pub mod weight;

pub use device::{Device, Precision};
pub use weight::{Format, WeightMatrix};
