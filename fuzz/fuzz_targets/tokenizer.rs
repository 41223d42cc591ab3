//! Any bytes as a tokenizer.json: an error, or a tokenizer that encodes and decodes, and never makes a control token of ordinary text.
#![no_main]

use dyag_text::{ControlWords, Tokenizer};
use libfuzzer_sys::fuzz_target;

const TEXTS: [&str; 3] = ["", "aab é\u{301} 12 \n\n<|end|></s> <unk>x<t>", "   "];

fuzz_target!(|data: &[u8]| {
    let Ok(tokenizer) = Tokenizer::from_json(data, "fuzzed") else { return };
    for text in TEXTS {
        for controls in [ControlWords::Recognised, ControlWords::AsText] {
            let Ok(encoding) = tokenizer.encode(text, controls) else { continue };
            assert_eq!(encoding.ids.len(), encoding.bytes.len());
            assert!(encoding.bytes.iter().all(|range| range.start <= range.end && range.end <= text.len()));
            let _ = tokenizer.decode(&encoding.ids);
        }
    }
    let again = Tokenizer::from_json(tokenizer.to_json().as_bytes(), "written").expect("what is written can be read");
    assert_eq!(again.vocabulary_hash(), tokenizer.vocabulary_hash());
});
