//! Fixtures and tolerances for the tests of the other crates.
#![forbid(unsafe_code)]

mod convert;
mod gguf;
mod hub;
mod loopback;
mod qdrant;
mod tiny;

use std::path::{Path, PathBuf};

pub use convert::golden_gguf;
pub use gguf::GgufBuilder;
pub use hub::{TestHub, TestHubBuilder, TestRepo};
pub use loopback::{Loopback, RecordedRequest, ScriptedReply};
pub use qdrant::TestQdrant;
pub use tiny::TinyModel;

/// Cases of reference numbers in `fixtures/golden`: tiny random models of every family.
pub const GOLDEN_CASES: [&str; 14] = [
    "qwen2",
    "tinyllama",
    "llama3",
    "phi3",
    "mistral-window",
    "qwen2-ragged",
    "qwen3",
    "qwen3-bias",
    "gemma3",
    "gemma3-plain",
    "phi3-longrope",
    "phi3-longrope-short",
    "smollm2",
    "llama-bias",
];

/// Cases of `fixtures/peft`, and the golden case whose model each adapts.
pub const PEFT_CASES: [(&str, &str); 5] =
    [("patterns", "qwen2"), ("rslora", "tinyllama"), ("all-linear", "phi3"), ("regex", "mistral-window"), ("excluded", "qwen2-ragged")];

/// A file or folder of the repository's `fixtures`.
///
/// # Panics
/// If it is not there.
pub fn fixture(name: impl AsRef<Path>) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name);
    assert!(path.exists(), "{} is missing", path.display());
    path
}

/// Folder of a golden case.
///
/// # Panics
/// If there is none of that name.
pub fn golden(case: &str) -> PathBuf {
    fixture(Path::new("golden").join(case))
}

/// `‖a − b‖ / ‖b‖` in f64; 0 for two equal lists, also of zeros.
///
/// # Panics
/// If the lengths differ.
pub fn relative_l2(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    let norm: f64 = b.iter().map(|b| f64::from(*b).powi(2)).sum();
    if difference == 0.0 { 0.0 } else { (difference / norm).sqrt() }
}

/// The largest difference relative to the largest element of `b`.
///
/// # Panics
/// If the lengths differ or an element is not finite.
pub fn relative_to_largest(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|v| v.is_finite()), "a value is not finite");
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
    let difference = largest(&mut a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()));
    if difference == 0.0 { 0.0 } else { difference / largest(&mut b.iter().map(|b| f64::from(*b).abs())) }
}
