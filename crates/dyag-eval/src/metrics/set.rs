//! All metrics of one answer, and of a set of answers.

use std::collections::BTreeMap;

use super::{
    Abstention, BleuStats, BleuTokenizer, Chrf, ChrfStats, Language, Normalization, RougeScore, RougeTokenizer, VERSION, bleu_signature,
    compare_facts, contains_expected, exact_match, exact_match_normalized, n_characters, n_words, repetition, rouge, token_f1,
};

/// What the metrics need to know beside the texts.
#[derive(Clone, Debug, Default)]
pub struct MetricOptions {
    /// The language of the answers: by which ambiguous dates and numbers are read, and which articles do not count in `contains_expected`.
    pub language: Language,
    /// What says that an answer is none.
    pub abstention: Abstention,
}

impl MetricOptions {
    /// The normalisation of the language: SQuAD's in English, the one that sees elisions in French.
    pub fn normalization(&self) -> Normalization {
        match self.language {
            Language::French => Normalization::French,
            Language::English => Normalization::Squad,
        }
    }
}

/// Which scores are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
    /// Neither: a description.
    Neutral,
}

/// A metric's name, the largest score it gives where there is one, which scores are better, what it says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// The key in scores.
    pub name: &'static str,
    /// 1 for fractions, 100 for BLEU and chrF, infinite for counts. The smallest score is 0.
    pub maximum: f64,
    /// Which scores are better.
    pub direction: Direction,
    /// One line for people.
    pub description: &'static str,
    how: How,
}

/// What the signature is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Plain(&'static str),
    Normalized(&'static str, Normalization),
    OfLanguage(&'static str),
    Facts,
    Abstention,
    Rouge(&'static str, RougeTokenizer),
    Bleu { tokenizer: BleuTokenizer, sentence: bool },
    Chrf(Chrf),
}

const fn better(name: &'static str, maximum: f64, how: How, description: &'static str) -> Metric {
    Metric { name, maximum, direction: Direction::Higher, description, how }
}

const fn rouge_metric(name: &'static str, how: How) -> Metric {
    better(
        name,
        1.0,
        how,
        "Overlap with the expected text: single words (1), pairs (2), longest common subsequence (L), that of lines (Lsum)",
    )
}

const fn bleu_metric(name: &'static str, tokenizer: BleuTokenizer, sentence: bool) -> Metric {
    better(name, 100.0, How::Bleu { tokenizer, sentence }, "Expected n-grams of one to four words, with a penalty on short answers")
}

const fn chrf_metric(name: &'static str, kind: Chrf) -> Metric {
    better(name, 100.0, How::Chrf(kind), "Expected n-grams of characters (and, in chrF++, of words)")
}

const COUNT: f64 = f64::INFINITY;
use RougeTokenizer::{Google, Unicode};

/// Every metric of one answer, in the order of reports. [`corpus_metrics`] has those of a set alone.
pub const METRICS: &[Metric] = &[
    better("exact_match", 1.0, How::Plain("exact-match|norm:none"), "The very text that was expected"),
    better(
        "exact_match_squad",
        1.0,
        How::Normalized("exact-match", Normalization::Squad),
        "The expected text but for case, punctuation and English articles",
    ),
    better(
        "exact_match_french_bench",
        1.0,
        How::Normalized("exact-match", Normalization::FrenchBench),
        "The expected text but for case, punctuation and French articles",
    ),
    better(
        "exact_match_french",
        1.0,
        How::Normalized("exact-match", Normalization::French),
        "The same, elided words and all punctuation seen",
    ),
    better("f1_squad", 1.0, How::Normalized("token-f1", Normalization::Squad), "Expected words, with SQuAD's normalisation"),
    better(
        "f1_french_bench",
        1.0,
        How::Normalized("token-f1", Normalization::FrenchBench),
        "Expected words, with the French benchmark's normalisation",
    ),
    better("f1_french", 1.0, How::Normalized("token-f1", Normalization::French), "Expected words, elided words seen"),
    better("contains_expected", 1.0, How::OfLanguage("contains|words:whole"), "The expected words stand in the answer, in their order"),
    better("facts_agree", 1.0, How::Facts, "All expected numbers, dates, versions and identifiers, and no others"),
    better("facts_recall", 1.0, How::Facts, "Share of the expected numbers, dates, versions and identifiers that the answer has"),
    better("facts_precision", 1.0, How::Facts, "Share of the answer's numbers, dates, versions and identifiers that were expected"),
    Metric {
        name: "facts_missing",
        maximum: COUNT,
        direction: Direction::Lower,
        description: "Expected numbers, dates, versions and identifiers that the answer has not",
        how: How::Facts,
    },
    Metric {
        name: "facts_extra",
        maximum: COUNT,
        direction: Direction::Lower,
        description: "The answer's numbers, dates, versions and identifiers that were not expected",
        how: How::Facts,
    },
    Metric {
        name: "facts_contradicted",
        maximum: 1.0,
        direction: Direction::Lower,
        description: "An expected value is missing and another of its kind given",
        how: How::Facts,
    },
    rouge_metric("rouge1_precision", How::Rouge("rouge1|precision", Google)),
    rouge_metric("rouge1_recall", How::Rouge("rouge1|recall", Google)),
    rouge_metric("rouge1_f", How::Rouge("rouge1|f-measure", Google)),
    rouge_metric("rouge2_precision", How::Rouge("rouge2|precision", Google)),
    rouge_metric("rouge2_recall", How::Rouge("rouge2|recall", Google)),
    rouge_metric("rouge2_f", How::Rouge("rouge2|f-measure", Google)),
    rouge_metric("rougeL_precision", How::Rouge("rougeL|precision", Google)),
    rouge_metric("rougeL_recall", How::Rouge("rougeL|recall", Google)),
    rouge_metric("rougeL_f", How::Rouge("rougeL|f-measure", Google)),
    rouge_metric("rougeLsum_precision", How::Rouge("rougeLsum|precision", Google)),
    rouge_metric("rougeLsum_recall", How::Rouge("rougeLsum|recall", Google)),
    rouge_metric("rougeLsum_f", How::Rouge("rougeLsum|f-measure", Google)),
    rouge_metric("rouge1_unicode_precision", How::Rouge("rouge1|precision", Unicode)),
    rouge_metric("rouge1_unicode_recall", How::Rouge("rouge1|recall", Unicode)),
    rouge_metric("rouge1_unicode_f", How::Rouge("rouge1|f-measure", Unicode)),
    rouge_metric("rouge2_unicode_precision", How::Rouge("rouge2|precision", Unicode)),
    rouge_metric("rouge2_unicode_recall", How::Rouge("rouge2|recall", Unicode)),
    rouge_metric("rouge2_unicode_f", How::Rouge("rouge2|f-measure", Unicode)),
    rouge_metric("rougeL_unicode_precision", How::Rouge("rougeL|precision", Unicode)),
    rouge_metric("rougeL_unicode_recall", How::Rouge("rougeL|recall", Unicode)),
    rouge_metric("rougeL_unicode_f", How::Rouge("rougeL|f-measure", Unicode)),
    rouge_metric("rougeLsum_unicode_precision", How::Rouge("rougeLsum|precision", Unicode)),
    rouge_metric("rougeLsum_unicode_recall", How::Rouge("rougeLsum|recall", Unicode)),
    rouge_metric("rougeLsum_unicode_f", How::Rouge("rougeLsum|f-measure", Unicode)),
    bleu_metric("sentence_bleu_13a", BleuTokenizer::V13a, true),
    bleu_metric("sentence_bleu_intl", BleuTokenizer::International, true),
    chrf_metric("sentence_chrf2", Chrf::Chrf2),
    chrf_metric("sentence_chrf++", Chrf::PlusPlus),
    better("answered", 1.0, How::Abstention, "Says something, and not that it does not know"),
    Metric {
        name: "abstained",
        maximum: 1.0,
        direction: Direction::Neutral,
        description: "Says that it does not know",
        how: How::Abstention,
    },
    Metric {
        name: "repetition",
        maximum: 1.0,
        direction: Direction::Lower,
        description: "Share of the answer's 4-grams of words that stood in it before",
        how: How::Plain("repetition|n:4|tok:unicode-words|norm:nfc-lower"),
    },
    Metric {
        name: "length_characters",
        maximum: COUNT,
        direction: Direction::Neutral,
        description: "Characters of the answer",
        how: How::Plain("length|unit:unicode-scalar"),
    },
    Metric {
        name: "length_words",
        maximum: COUNT,
        direction: Direction::Neutral,
        description: "Words of the answer",
        how: How::Plain("length|tok:unicode-words"),
    },
];

const CORPUS_METRICS: &[Metric] = &[
    bleu_metric("corpus_bleu_13a", BleuTokenizer::V13a, false),
    bleu_metric("corpus_bleu_intl", BleuTokenizer::International, false),
    chrf_metric("corpus_chrf2", Chrf::Chrf2),
    chrf_metric("corpus_chrf++", Chrf::PlusPlus),
];

/// What the model itself says of the expected answers, which whoever asks it computes.
const MODEL_METRICS: &[Metric] = &[
    Metric {
        name: "perplexity_expected",
        maximum: COUNT,
        direction: Direction::Lower,
        description: "How many tokens the model wavers between while it reads the expected answer; for models with one tokenizer",
        how: How::Plain("perplexity"),
    },
    Metric {
        name: "bits_per_byte_expected",
        maximum: COUNT,
        direction: Direction::Lower,
        description: "Bits that the model needs for a byte of the expected answer",
        how: How::Plain("bits-per-byte"),
    },
];

/// The metrics that a set has beside the means of [`METRICS`]: those computed from its summed counts.
pub fn corpus_metrics() -> &'static [Metric] {
    CORPUS_METRICS
}

/// Metrics that are named after an encoder, which stands in the name for `MODEL`. The file of results has their signatures, which the encoder is part of.
const ENCODER_METRICS: &[Metric] = &[
    better("bertscore_MODEL_f1_rescaled", 1.0, How::Plain("bertscore|f1"), "The same, 0 for unrelated answers of the set"),
    better("bertscore_MODEL_f1", 1.0, How::Plain("bertscore|f1"), "Tokens matched by an encoder's vectors: harmonic mean"),
    better("bertscore_MODEL_precision", 1.0, How::Plain("bertscore|precision"), "Tokens of the answer matched by an encoder's vectors"),
    better("bertscore_MODEL_recall", 1.0, How::Plain("bertscore|recall"), "Expected tokens matched by an encoder's vectors"),
    better("similarity_MODEL_rescaled", 1.0, How::Plain("embedding-similarity|cosine"), "The same, 0 for unrelated answers of the set"),
    better(
        "similarity_MODEL",
        1.0,
        How::Plain("embedding-similarity|cosine"),
        "Cosine of an encoder's vectors of answer and expected text",
    ),
];

/// What a search found, and what of an answer stands in it. They need a row's passages, and [`crate::retrieval`] computes them.
const RETRIEVAL_METRICS: &[Metric] = &[
    better("retrieval_recall@1", 1.0, How::Plain("retrieval|recall@1"), "Share of the chunks that bear the answer at the first place"),
    better(
        "retrieval_recall@5",
        1.0,
        How::Plain("retrieval|recall@5"),
        "Share of the chunks that bear the answer among the first five found",
    ),
    better(
        "retrieval_recall@10",
        1.0,
        How::Plain("retrieval|recall@10"),
        "Share of the chunks that bear the answer among the first ten found",
    ),
    better("retrieval_success@1", 1.0, How::Plain("retrieval|success@1"), "A chunk that bears the answer was found at the first place"),
    better("retrieval_success@5", 1.0, How::Plain("retrieval|success@5"), "A chunk that bears the answer is among the first five found"),
    better(
        "retrieval_precision@5",
        1.0,
        How::Plain("retrieval|precision@5"),
        "Share of five places that chunks which bear the answer hold",
    ),
    better("retrieval_mrr", 1.0, How::Plain("retrieval|mrr"), "One divided by the rank of the first chunk that bears the answer"),
    better("retrieval_ndcg@10", 1.0, How::Plain("retrieval|ndcg@10"), "How near the first ten found are to the best order"),
    better(
        "retrieval_document_recall@1",
        1.0,
        How::Plain("retrieval|document|recall@1"),
        "The right document was found at the first place",
    ),
    better(
        "retrieval_document_recall@5",
        1.0,
        How::Plain("retrieval|document|recall@5"),
        "The right document is among the first five found",
    ),
    better(
        "retrieval_document_recall@10",
        1.0,
        How::Plain("retrieval|document|recall@10"),
        "The right document is among the first ten found",
    ),
    better(
        "retrieval_document_success@1",
        1.0,
        How::Plain("retrieval|document|success@1"),
        "The right document was found at the first place",
    ),
    better(
        "retrieval_document_success@5",
        1.0,
        How::Plain("retrieval|document|success@5"),
        "The right document is among the first five found",
    ),
    better(
        "retrieval_document_precision@5",
        1.0,
        How::Plain("retrieval|document|precision@5"),
        "Share of five places that the right document holds",
    ),
    better("retrieval_document_mrr", 1.0, How::Plain("retrieval|document|mrr"), "One divided by the rank of the right document"),
    better(
        "retrieval_document_ndcg@10",
        1.0,
        How::Plain("retrieval|document|ndcg@10"),
        "How near the right document is to the first place",
    ),
    better(
        "context_precision",
        1.0,
        How::Plain("retrieval|context_precision"),
        "Mean precision at the ranks of the chunks that bear the answer: how little else was shown above them",
    ),
    better("grounded_words", 1.0, How::Plain("groundedness|words"), "Share of the answer's content words that stand in its passages"),
    better(
        "grounded_facts",
        1.0,
        How::Plain("groundedness|facts"),
        "Share of the answer's numbers, dates and identifiers that stand in its passages",
    ),
    better("grounded_sentences", 1.0, How::Plain("groundedness|sentences"), "Share of the answer's sentences that stand in its passages"),
];

/// The metric of a name, of one answer or of a set. One that is named after an encoder has `MODEL` in its own name.
pub fn metric(name: &str) -> Option<&'static Metric> {
    let named = |metric: &&Metric| match metric.name.split_once("MODEL") {
        None => metric.name == name,
        Some((before, after)) => name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).is_some_and(|model| !model.is_empty()),
    };
    METRICS.iter().chain(CORPUS_METRICS).chain(MODEL_METRICS).chain(RETRIEVAL_METRICS).chain(ENCODER_METRICS).find(named)
}

impl Metric {
    /// How it is computed with these options, in one line: the same signature, the same numbers.
    pub fn signature(&self, options: &MetricOptions) -> String {
        match self.how {
            How::Plain(how) => format!("{how}|version:{VERSION}"),
            How::Normalized(how, normalization) => format!("{how}|norm:{}|version:{VERSION}", normalization.name()),
            How::OfLanguage(how) => format!("{how}|norm:{}|version:{VERSION}", options.normalization().name()),
            How::Facts => format!("facts|lang:{}|version:{VERSION}", options.language.name()),
            How::Abstention => {
                let list = &options.abstention;
                let phrases =
                    if *list == Abstention::default() { "fr-en".to_owned() } else { format!("own-{:08x}", fingerprint(list.phrases())) };
                format!("abstention|phrases:{phrases}|n:{}|version:{VERSION}", list.phrases().len())
            }
            How::Rouge(how, tokenizer) => format!("{how}|tok:{}|stem:no|split:newline|version:{VERSION}", tokenizer.name()),
            How::Bleu { tokenizer, sentence } => bleu_signature(tokenizer, sentence),
            How::Chrf(kind) => kind.signature(),
        }
    }
}

/// FNV-1a (32 bits) of a list, so that two lists of one length have two signatures.
fn fingerprint(phrases: &[String]) -> u32 {
    let bytes = phrases.iter().flat_map(|phrase| phrase.bytes().chain([b'\n']));
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// One answer: its scores, and the counts of which those of a set are made.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerScores {
    /// A score for each of [`METRICS`].
    pub scores: BTreeMap<&'static str, f64>,
    /// BLEU's counts, tokenizer 13a.
    pub bleu_13a: BleuStats,
    /// BLEU's counts, international tokenizer.
    pub bleu_intl: BleuStats,
    /// The counts of chrF2 and chrF++.
    pub chrf: ChrfStats,
}

impl AnswerScores {
    /// Scores an answer. What the question gives may be repeated without being an extra fact.
    pub fn new(question: &str, answer: &str, expected: &str, options: &MetricOptions) -> Self {
        let bleu_13a = BleuStats::new(answer, expected, BleuTokenizer::V13a);
        let bleu_intl = BleuStats::new(answer, expected, BleuTokenizer::International);
        let chrf = ChrfStats::new(answer, expected);
        let mut scores = BTreeMap::from([
            ("exact_match", exact_match(answer, expected)),
            ("contains_expected", contains_expected(answer, expected, options.normalization())),
            ("sentence_bleu_13a", bleu_13a.sentence_score()),
            ("sentence_bleu_intl", bleu_intl.sentence_score()),
            ("sentence_chrf2", chrf.score(Chrf::Chrf2)),
            ("sentence_chrf++", chrf.score(Chrf::PlusPlus)),
            ("answered", f64::from(options.abstention.answers(answer))),
            ("abstained", f64::from(options.abstention.abstains(answer))),
            ("repetition", repetition(answer)),
            ("length_characters", n_characters(answer) as f64),
            ("length_words", n_words(answer) as f64),
        ]);
        for (normalization, exact, f1) in [
            (Normalization::Squad, "exact_match_squad", "f1_squad"),
            (Normalization::FrenchBench, "exact_match_french_bench", "f1_french_bench"),
            (Normalization::French, "exact_match_french", "f1_french"),
        ] {
            scores.insert(exact, exact_match_normalized(answer, expected, normalization));
            scores.insert(f1, token_f1(answer, expected, normalization));
        }
        add_facts(&mut scores, question, answer, expected, options);
        add_rouge(&mut scores, answer, expected);
        Self { scores, bleu_13a, bleu_intl, chrf }
    }
}

fn add_facts(scores: &mut BTreeMap<&'static str, f64>, question: &str, answer: &str, expected: &str, options: &MetricOptions) {
    let facts = compare_facts(answer, expected, question, options.language);
    scores.extend([
        ("facts_agree", f64::from(facts.agrees())),
        ("facts_recall", facts.recall()),
        ("facts_precision", facts.precision()),
        ("facts_missing", facts.missing.len() as f64),
        ("facts_extra", facts.extra.len() as f64),
        ("facts_contradicted", f64::from(facts.contradicts())),
    ]);
}

fn add_rouge(scores: &mut BTreeMap<&'static str, f64>, answer: &str, expected: &str) {
    let google = rouge(answer, expected, Google);
    let unicode = rouge(answer, expected, Unicode);
    let mut add = |[precision, recall, f]: [&'static str; 3], score: RougeScore| {
        scores.extend([(precision, score.precision), (recall, score.recall), (f, score.f_measure)]);
    };
    add(["rouge1_precision", "rouge1_recall", "rouge1_f"], google.rouge1);
    add(["rouge2_precision", "rouge2_recall", "rouge2_f"], google.rouge2);
    add(["rougeL_precision", "rougeL_recall", "rougeL_f"], google.rouge_l);
    add(["rougeLsum_precision", "rougeLsum_recall", "rougeLsum_f"], google.rouge_lsum);
    add(["rouge1_unicode_precision", "rouge1_unicode_recall", "rouge1_unicode_f"], unicode.rouge1);
    add(["rouge2_unicode_precision", "rouge2_unicode_recall", "rouge2_unicode_f"], unicode.rouge2);
    add(["rougeL_unicode_precision", "rougeL_unicode_recall", "rougeL_unicode_f"], unicode.rouge_l);
    add(["rougeLsum_unicode_precision", "rougeLsum_unicode_recall", "rougeLsum_unicode_f"], unicode.rouge_lsum);
}

/// Every metric of one answer, by name.
pub fn score_answer(answer: &str, expected: &str, options: &MetricOptions) -> BTreeMap<&'static str, f64> {
    score_answer_to("", answer, expected, options)
}

/// Every metric of one answer to a question, by name. Numbers and dates of the question may be repeated without being extra.
pub fn score_answer_to(question: &str, answer: &str, expected: &str, options: &MetricOptions) -> BTreeMap<&'static str, f64> {
    AnswerScores::new(question, answer, expected, options).scores
}

/// The answers of a set, in their order.
#[derive(Clone, Debug, Default)]
pub struct MetricSet {
    options: MetricOptions,
    answers: Vec<AnswerScores>,
}

impl MetricSet {
    /// An empty set.
    pub fn new(options: MetricOptions) -> Self {
        Self { options, answers: Vec::new() }
    }

    /// Scores one more answer.
    pub fn add(&mut self, question: &str, answer: &str, expected: &str) -> &AnswerScores {
        let at = self.answers.len();
        self.answers.push(AnswerScores::new(question, answer, expected, &self.options));
        &self.answers[at]
    }

    /// The answers so far.
    pub fn answers(&self) -> &[AnswerScores] {
        &self.answers
    }

    /// Of the set: the mean of every metric of one answer, and the metrics of [`corpus_metrics`] from summed counts. Nothing for no answers.
    pub fn scores(&self) -> BTreeMap<&'static str, f64> {
        if self.answers.is_empty() {
            return BTreeMap::new();
        }
        let n_answers = self.answers.len() as f64;
        let mean = |name| self.answers.iter().map(|answer| answer.scores[name]).sum::<f64>() / n_answers;
        let mut scores: BTreeMap<_, _> = METRICS.iter().map(|metric| (metric.name, mean(metric.name))).collect();
        let chrf: ChrfStats = self.answers.iter().map(|answer| answer.chrf).sum();
        scores.extend([
            ("corpus_bleu_13a", self.answers.iter().map(|answer| answer.bleu_13a).sum::<BleuStats>().corpus_score()),
            ("corpus_bleu_intl", self.answers.iter().map(|answer| answer.bleu_intl).sum::<BleuStats>().corpus_score()),
            ("corpus_chrf2", chrf.score(Chrf::Chrf2)),
            ("corpus_chrf++", chrf.score(Chrf::PlusPlus)),
        ]);
        scores
    }

    /// How each of [`scores`](Self::scores) was computed.
    pub fn signatures(&self) -> BTreeMap<&'static str, String> {
        METRICS.iter().chain(CORPUS_METRICS).map(|metric| (metric.name, metric.signature(&self.options))).collect()
    }
}
