//! The splitting rules that GGUF files name (`tokenizer.ggml.pre`): what cuts a text into words before byte-level BPE, and the
//! normaliser and merge rule that come with it in the model's own tokenizer.json.

use serde_json::{Value, json};

/// How a family of byte-level tokenizers prepares a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct SplitRule {
    /// Names in GGUF files, the usual one first.
    names: &'static [&'static str],
    /// What cuts the text.
    cut: Cut,
    /// Whether the text is brought to Unicode's composed form (NFC) first.
    pub(super) nfc: bool,
    /// Whether a whole word that is in the vocabulary is taken before any merge.
    pub(super) ignore_merges: bool,
}

#[derive(Clone, Copy, Debug)]
enum Cut {
    /// Words are the matches of a pattern.
    Pattern(&'static str),
    /// Each digit alone, then words by GPT-2's pattern.
    DigitsThenGpt2,
}

/// The pattern of GPT-2's `encoder.py`.
pub(super) const GPT2_PATTERN: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Qwen2's tokenizer.json: digits one by one.
const QWEN2_PATTERN: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Llama 3's tokenizer.json: digits by up to three.
const LLAMA3_PATTERN: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Mistral Nemo's tokenizer.json ("Tekken").
const TEKKEN_PATTERN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

const RULES: &[SplitRule] = &[
    SplitRule { names: &["qwen2", "deepseek-r1-qwen"], cut: Cut::Pattern(QWEN2_PATTERN), nfc: true, ignore_merges: false },
    SplitRule { names: &["llama-bpe", "llama3", "llama-v3"], cut: Cut::Pattern(LLAMA3_PATTERN), nfc: false, ignore_merges: true },
    SplitRule { names: &["tekken"], cut: Cut::Pattern(TEKKEN_PATTERN), nfc: false, ignore_merges: true },
    SplitRule { names: &["gpt-2"], cut: Cut::Pattern(GPT2_PATTERN), nfc: false, ignore_merges: false },
    SplitRule { names: &["smollm"], cut: Cut::DigitsThenGpt2, nfc: false, ignore_merges: false },
];

/// The rule of a name.
pub(super) fn by_name(name: &str) -> Option<&'static SplitRule> {
    RULES.iter().find(|rule| rule.names.contains(&name))
}

/// The name of the rule that a `tokenizer.json`'s `pre_tokenizer` is, or what cuts words in it, for a message.
pub(super) fn name_of(component: &Value) -> Result<&'static str, String> {
    let mut cuts = Vec::new();
    collect_cuts(component, &mut cuts);
    let same = |rule: &&SplitRule| match (rule.cut, cuts.as_slice()) {
        (Cut::Pattern(pattern), [found]) => pattern == found,
        (Cut::DigitsThenGpt2, [digits, found]) => digits == DIGITS && found == GPT2_PATTERN,
        _ => false,
    };
    RULES
        .iter()
        .find(same)
        .map(|rule| rule.names[0])
        .ok_or_else(|| if cuts.is_empty() { "nothing".to_owned() } else { cuts.join(", then ") })
}

/// What stands in a list of cuts for each digit alone.
const DIGITS: &str = r"\p{N}";

/// Patterns by which a component cuts, in order.
fn collect_cuts(component: &Value, cuts: &mut Vec<String>) {
    match component["type"].as_str() {
        Some("Sequence") => component["pretokenizers"].as_array().into_iter().flatten().for_each(|part| collect_cuts(part, cuts)),
        Some("Split") => cuts.extend(component["pattern"]["Regex"].as_str().map(str::to_owned)),
        Some("Digits") if component["individual_digits"] == true => cuts.push(DIGITS.to_owned()),
        Some("ByteLevel") if component["use_regex"] != false => cuts.push(GPT2_PATTERN.to_owned()),
        Some("ByteLevel") => {}
        other => cuts.push(format!("a step of type {}", other.unwrap_or("unknown"))),
    }
}

/// Every known name, for messages.
pub(super) fn known_names() -> String {
    RULES.iter().flat_map(|rule| rule.names).copied().collect::<Vec<_>>().join(", ")
}

impl SplitRule {
    /// The rule in the form of a tokenizer.json's `pre_tokenizer`.
    pub(super) fn pre_tokenizer(&self) -> Value {
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false});
        let pattern = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        let steps = match self.cut {
            Cut::Pattern(text) => vec![pattern(text), bytes],
            Cut::DigitsThenGpt2 => vec![json!({"type": "Digits", "individual_digits": true}), pattern(GPT2_PATTERN), bytes],
        };
        json!({"type": "Sequence", "pretokenizers": steps})
    }
}
