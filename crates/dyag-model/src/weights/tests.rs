//! The reference models load from both kinds of configuration.

use std::path::{Path, PathBuf};

use super::{Model, SourceKind};

/// The reference cases of fixtures/golden.
pub(crate) const CASES: [&str; 6] = ["qwen2", "qwen2-ragged", "llama3", "tinyllama", "mistral-window", "phi3"];

/// A folder of fixtures/golden.
pub(crate) fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden").join(case)
}

#[test]
fn reference_models_load_with_the_keys_of_transformers_4_and_5() {
    for case in CASES {
        let folder = golden(case);
        let model = Model::load(&folder.join("model")).unwrap_or_else(|error| panic!("{case}: {error}"));
        let older = Model::load_with_config(&folder.join("model"), Some(&folder.join("config_v4.json"))).unwrap();
        assert_eq!(model.config, older.config, "{case}");
        assert_eq!(model.source.fingerprint(), older.source.fingerprint(), "{case}");
        assert_eq!(model.source.kind, SourceKind::Folder);
        assert_eq!(model.source.formats, vec![("F32", model.source.formats[0].1)]);
        assert_eq!(model.weights.layers.len(), model.config.n_layers);
    }
}
