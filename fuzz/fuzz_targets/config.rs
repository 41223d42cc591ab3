//! Any JSON object as config.json: an error, or a shape whose numbers go together.
#![no_main]

use std::path::Path;

use dyag_model::config::DecoderConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(object) = serde_json::from_slice(data) else { return };
    let Ok(config) = DecoderConfig::from_json(Path::new("fuzzed"), &object) else { return };
    assert_eq!(config.windows.len(), config.n_layers);
    assert_eq!(config.n_heads % config.n_kv_heads, 0);
    assert!(config.rope.rotary_size.is_multiple_of(2) && (2..=config.head_size).contains(&config.rope.rotary_size));
});
