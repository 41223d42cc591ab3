//! The models that ship with the registry. Facts are those of each model's card and licence on the hub.

/// One model.
pub(super) struct Row {
    pub(super) key: &'static str,
    pub(super) hub: &'static str,
    /// As people say it.
    pub(super) parameters: &'static str,
    /// In thousand millions.
    pub(super) billions: f64,
    pub(super) licence: &'static str,
    pub(super) gated: bool,
    /// Tokens of a text, questions and answers included, that it was made for.
    pub(super) context_tokens: u32,
    /// Codes of languages, with spaces between; `others` where the card speaks of more.
    pub(super) languages: &'static str,
    /// For a gated model, one that needs no account.
    pub(super) alternative: Option<&'static str>,
    pub(super) given: Option<Given>,
}

/// Memory in GB, examples of a micro-batch, rank of an adapter, and whether a processor is enough: where the original program says it.
pub(super) struct Given(pub(super) f64, pub(super) f64, pub(super) usize, pub(super) usize, pub(super) bool);

const QWEN25: &str = "zh en fr es pt de it ru ja ko vi th ar others";
const QWEN3: &str = "en fr de es it pt zh others";
const LLAMA3: &str = "en de fr it pt hi es th";

#[rustfmt::skip]
pub(super) const ROWS: [Row; 20] = [
    // The original program's five, as they were.
    Row { key: "tinyllama", hub: "TinyLlama/TinyLlama-1.1B-Chat-v1.0", parameters: "1.1B", billions: 1.1, licence: "apache-2.0", gated: false,
          context_tokens: 2048, languages: "en", alternative: None, given: Some(Given(2.0, 4.0, 4, 16, true)) },
    Row { key: "llama3.2:1b", hub: "meta-llama/Llama-3.2-1B-Instruct", parameters: "1B", billions: 1.24, licence: "llama3.2", gated: true,
          context_tokens: 131_072, languages: LLAMA3, alternative: Some("qwen2.5:1.5b"), given: Some(Given(3.0, 6.0, 4, 16, false)) },
    Row { key: "llama3.1:8b", hub: "meta-llama/Llama-3.1-8B-Instruct", parameters: "8B", billions: 8.03, licence: "llama3.1", gated: true,
          context_tokens: 131_072, languages: LLAMA3, alternative: Some("qwen2.5:7b"), given: Some(Given(12.0, 16.0, 1, 32, false)) },
    Row { key: "phi3", hub: "microsoft/Phi-3-mini-4k-instruct", parameters: "3.8B", billions: 3.82, licence: "mit", gated: false,
          context_tokens: 4096, languages: "en", alternative: None, given: Some(Given(6.0, 8.0, 2, 16, false)) },
    Row { key: "qwen2.5:1.5b", hub: "Qwen/Qwen2.5-1.5B-Instruct", parameters: "1.5B", billions: 1.54, licence: "apache-2.0", gated: false,
          context_tokens: 32_768, languages: QWEN25, alternative: None, given: Some(Given(3.0, 6.0, 4, 16, true)) },
    // Others of their families; one of the shape of an original row has its advice.
    Row { key: "qwen2.5:0.5b", hub: "Qwen/Qwen2.5-0.5B-Instruct", parameters: "0.5B", billions: 0.49, licence: "apache-2.0", gated: false,
          context_tokens: 32_768, languages: QWEN25, alternative: None, given: None },
    Row { key: "qwen2.5:3b", hub: "Qwen/Qwen2.5-3B-Instruct", parameters: "3B", billions: 3.09, licence: "qwen-research", gated: false,
          context_tokens: 32_768, languages: QWEN25, alternative: None, given: None },
    Row { key: "qwen2.5:7b", hub: "Qwen/Qwen2.5-7B-Instruct", parameters: "7B", billions: 7.61, licence: "apache-2.0", gated: false,
          context_tokens: 32_768, languages: QWEN25, alternative: None, given: None },
    Row { key: "qwen2.5-coder:0.5b", hub: "Qwen/Qwen2.5-Coder-0.5B-Instruct", parameters: "0.5B", billions: 0.49, licence: "apache-2.0", gated: false,
          context_tokens: 32_768, languages: "en", alternative: None, given: None },
    Row { key: "qwen2.5-coder:1.5b", hub: "Qwen/Qwen2.5-Coder-1.5B-Instruct", parameters: "1.5B", billions: 1.54, licence: "apache-2.0", gated: false,
          context_tokens: 32_768, languages: "en", alternative: None, given: Some(Given(3.0, 6.0, 4, 16, true)) },
    Row { key: "qwen3:0.6b", hub: "Qwen/Qwen3-0.6B", parameters: "0.6B", billions: 0.6, licence: "apache-2.0", gated: false,
          context_tokens: 32_768, languages: QWEN3, alternative: None, given: None },
    Row { key: "qwen3:1.7b", hub: "Qwen/Qwen3-1.7B", parameters: "1.7B", billions: 1.7, licence: "apache-2.0", gated: false,
          context_tokens: 32_768, languages: QWEN3, alternative: None, given: None },
    Row { key: "qwen3:4b", hub: "Qwen/Qwen3-4B", parameters: "4B", billions: 4.0, licence: "apache-2.0", gated: false,
          context_tokens: 32_768, languages: QWEN3, alternative: None, given: None },
    Row { key: "llama3.2:3b", hub: "meta-llama/Llama-3.2-3B-Instruct", parameters: "3B", billions: 3.21, licence: "llama3.2", gated: true,
          context_tokens: 131_072, languages: LLAMA3, alternative: Some("qwen3:4b"), given: None },
    Row { key: "smollm2:135m", hub: "HuggingFaceTB/SmolLM2-135M-Instruct", parameters: "135M", billions: 0.135, licence: "apache-2.0", gated: false,
          context_tokens: 8192, languages: "en", alternative: None, given: None },
    Row { key: "smollm2:360m", hub: "HuggingFaceTB/SmolLM2-360M-Instruct", parameters: "360M", billions: 0.362, licence: "apache-2.0", gated: false,
          context_tokens: 8192, languages: "en", alternative: None, given: None },
    Row { key: "smollm2:1.7b", hub: "HuggingFaceTB/SmolLM2-1.7B-Instruct", parameters: "1.7B", billions: 1.71, licence: "apache-2.0", gated: false,
          context_tokens: 8192, languages: "en", alternative: None, given: None },
    Row { key: "mistral:7b", hub: "mistralai/Mistral-7B-Instruct-v0.3", parameters: "7B", billions: 7.25, licence: "apache-2.0", gated: true,
          context_tokens: 32_768, languages: "en", alternative: Some("qwen2.5:7b"), given: None },
    Row { key: "gemma3:270m", hub: "google/gemma-3-270m-it", parameters: "270M", billions: 0.268, licence: "gemma", gated: true,
          context_tokens: 32_768, languages: "en others", alternative: Some("qwen3:0.6b"), given: None },
    Row { key: "gemma3:1b", hub: "google/gemma-3-1b-it", parameters: "1B", billions: 1.0, licence: "gemma", gated: true,
          context_tokens: 32_768, languages: "en", alternative: Some("qwen2.5:1.5b"), given: None },
];

impl Row {
    /// The original's advice where there is one. Elsewhere: at least the weights in bf16 and 1 GB beside them, better twice the weights, in whole
    /// GB; batch and rank as the original has them for models of that size; a processor is enough for 2 thousand million parameters.
    pub(super) fn advice(&self) -> Given {
        if let Some(Given(minimum, recommended, batch, rank, cpu)) = self.given {
            return Given(minimum, recommended, batch, rank, cpu);
        }
        let weights = 2.0 * self.billions;
        let minimum = (weights + 1.0).ceil();
        let (batch, rank) = if self.billions <= 2.0 {
            (4, 16)
        } else if self.billions <= 5.0 {
            (2, 16)
        } else {
            (1, 32)
        };
        Given(minimum, (2.0 * weights).ceil().max(minimum + 1.0), batch, rank, self.billions <= 2.0)
    }
}
