//! Encoders' tokenizers against ids of `tokenizers` (made by tools/reference/make_encoder_golden.py), and what is refused.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/../../fixtures/encoder/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn tokenizer(case: &str) -> EncoderTokenizer {
    EncoderTokenizer::from_json(&fixture(&format!("{case}/tokenizer.json")), case).unwrap()
}

#[test]
fn ids_are_those_of_the_published_tokenizers() {
    for (case, longest, special) in [("bert", 50, [2, 3]), ("xlm-roberta", 58, [0, 2])] {
        let tokenizer = tokenizer(case);
        let file: Value = serde_json::from_slice(&fixture(&format!("{case}/texts.json"))).unwrap();
        let texts: Vec<String> = serde_json::from_value(file["texts"].clone()).unwrap();
        let expected: Vec<Vec<u32>> = serde_json::from_value(file["ids"].clone()).unwrap();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let tokens = tokenizer.encode(&texts, longest).unwrap();
        assert!(tokens.iter().any(|tokens| tokens.is_cut && tokens.ids.len() == longest));
        for ((text, tokens), expected) in texts.iter().zip(&tokens).zip(expected) {
            assert_eq!(tokens.ids, expected, "{case}: {text:?}");
            assert!(tokens.types.len() == tokens.ids.len() && tokens.types.iter().all(|kind| *kind == 0));
        }
        assert_eq!(tokenizer.special_ids(), special);
        assert!(!tokenizer.is_byte_level());
        assert!(tokenizer.id_limit() > 100 && tokens.iter().flat_map(|tokens| &tokens.ids).all(|id| (*id as usize) < tokenizer.id_limit()));
        // Special tokens stay however short the text must be, and a length without room for them is refused.
        assert_eq!(tokenizer.encode(&["a b c"], 2).unwrap()[0].ids, special);
        assert!(tokenizer.encode(&["a b c"], 1).is_err());
    }
}

#[test]
fn what_is_no_tokenizer_is_refused() {
    let refused = |bytes: &[u8]| EncoderTokenizer::from_json(bytes, "x/tokenizer.json").unwrap_err().to_string();
    assert!(refused(b"{").contains("x/tokenizer.json"));
    assert!(refused(b"{}").contains("model"));
    assert!(refused(br#"{"model": {"type": "WordPiece"}}"#).contains("x/tokenizer.json"));
    let mut file: Value = serde_json::from_slice(&fixture("bert/tokenizer.json")).unwrap();
    file["post_processor"]["single"] = serde_json::json!([{"SpecialToken": {"id": "[NONE]", "type_id": 0}}]);
    assert!(refused(file.to_string().as_bytes()).contains("tokenizer.json"));
}

#[test]
fn byte_level_tokenizers_are_known() {
    let path = format!("{}/../../fixtures/tokenizers/gpt2.json", env!("CARGO_MANIFEST_DIR"));
    assert!(EncoderTokenizer::from_file(path.as_ref()).unwrap().is_byte_level());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// A damaged file is an error or a tokenizer that answers; nothing panics.
    #[test]
    fn damaged_files_do_not_panic(case in 0usize..2, changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..4)) {
        let mut bytes = fixture(["bert/tokenizer.json", "xlm-roberta/tokenizer.json"][case]);
        for (place, byte) in changes {
            let at = usize::from(place) % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(tokenizer) = EncoderTokenizer::from_json(&bytes, "x") {
            let _ = tokenizer.encode(&["L'été [SEP] 🙂", ""], 16);
        }
    }

    #[test]
    fn any_text_has_tokens(text in any::<String>()) {
        for case in ["bert", "xlm-roberta"] {
            let tokens = &tokenizer(case).encode(&[&text], 20).unwrap()[0];
            prop_assert!((2..=20).contains(&tokens.ids.len()));
        }
    }
}

/// The tokens and types of pairs that sentence-transformers' cross-encoders read (made by tools/reference/make_retrieval_golden.py).
#[test]
fn pairs_are_those_of_sentence_transformers() {
    for (case, longest) in [("bert-reranker", 56), ("xlm-roberta-reranker", 58)] {
        let folder = format!("../retrieval/{case}");
        let tokenizer = tokenizer(&folder);
        let file: Value = serde_json::from_slice(&fixture(&format!("{folder}/reference.json"))).unwrap();
        let [queries, passages]: [Vec<String>; 2] = ["queries", "passages"].map(|key| serde_json::from_value(file[key].clone()).unwrap());
        let [ids, types]: [Vec<Vec<u32>>; 2] = ["ids", "types"].map(|key| serde_json::from_value(file[key].clone()).unwrap());
        let passages: Vec<&str> = passages.iter().map(String::as_str).collect();
        let pairs: Vec<EncoderTokens> =
            queries.iter().flat_map(|query| tokenizer.encode_pairs(query, &passages, longest).unwrap()).collect();
        assert!(pairs.len() == ids.len() && pairs.iter().filter(|pair| pair.is_cut && pair.ids.len() == longest).count() > 4);
        for (pair, (ids, types)) in pairs.iter().zip(ids.iter().zip(&types)) {
            assert_eq!(&pair.ids, ids, "{case}");
            assert_eq!(&pair.types, types, "{case}: {ids:?}");
        }
        assert!(tokenizer.encode_pairs("a", &["b"], 2).is_err(), "no room beside the special tokens");
    }
}
