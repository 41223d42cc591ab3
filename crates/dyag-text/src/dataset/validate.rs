//! Everything that is wrong with a dataset, or deserves a look, row by row.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::asked::{Asked, AskedIndex, letters, prompt_letters};
use super::format::Format;
use super::placeholder::placeholder;
use super::reader::RowReader;
use super::row::{Purpose, Row};
use crate::conversation::Role;
use crate::error::{SourceLine, TextError, excerpt};
use crate::hash::sha256_hex;
use crate::near_duplicates::SAME_QUESTION;
use crate::tokenizer::Tokenizer;

/// Control words of widespread chat templates, for when no tokenizer says which ones there are.
const CONTROL_WORDS: [&str; 12] = [
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|end|>",
    "<|eot_id|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "</s>",
    "[INST]",
];

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The row cannot be used, or teaches what is no answer.
    Error,
    /// The row can be used; whether it should be is for a person to say.
    Warning,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A row that cannot be read: its JSON, keys, roles, order of turns, empty turns.
    Unusable,
    /// An answer that stands for one that is not known yet.
    Placeholder,
    /// A row that repeats an earlier one to the letter.
    Duplicate,
    /// A question that was asked before in nearly the same words.
    NearDuplicate,
    /// A question that was asked before and has another answer here.
    OtherAnswer,
    /// A control word inside somebody's text.
    ControlWord,
    /// A question without an expected answer.
    NoAnswer,
}

impl FindingKind {
    /// In words, for counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unusable => "unusable rows",
            Self::Placeholder => "placeholders",
            Self::Duplicate => "duplicates",
            Self::NearDuplicate => "near-duplicates",
            Self::OtherAnswer => "other answers to the same question",
            Self::ControlWord => "control words in texts",
            Self::NoAnswer => "questions without an expected answer",
        }
    }
}

/// Something about a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What kind of thing it is.
    pub kind: FindingKind,
    /// The row.
    pub source: SourceLine,
    /// The earlier row that it is compared with.
    pub earlier: Option<SourceLine>,
    /// What it is, without the place.
    pub message: String,
}

/// What to look for.
#[derive(Clone, Copy, Debug)]
pub struct ValidateOptions<'a> {
    /// From which similarity on two wordings are nearly the same.
    pub similarity: f64,
    /// Says which control words there are; without it, those of widespread templates are looked for.
    pub tokenizer: Option<&'a Tokenizer>,
}

impl Default for ValidateOptions<'_> {
    fn default() -> Self {
        Self { similarity: SAME_QUESTION, tokenizer: None }
    }
}

/// What was found in a file.
#[derive(Clone, Debug)]
pub struct Validation {
    /// The format of its rows; none when no row has one.
    pub format: Option<Format>,
    /// Rows, good and bad.
    pub n_rows: usize,
    /// Rows that cannot be used.
    pub n_unusable: usize,
    /// Rows that are marked as placeholders.
    pub n_marked_placeholders: usize,
    /// Everything that was found, in the order of the file.
    pub findings: Vec<Finding>,
}

impl Validation {
    /// How many findings are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// Reads all of a dataset, passing over what cannot be read, and lists what is wrong with it. Rows of question/expected_answer may lack
/// the answer; all others need one.
///
/// # Errors
/// A file that cannot be read, or without a row.
///
/// # Panics
/// A similarity that is not above 0, or above 1.
pub fn validate(path: &Path, options: &ValidateOptions<'_>) -> Result<Validation, TextError> {
    let mut reader = RowReader::open(path, Purpose::ByFormat)?;
    let mut validator = Validator::new(options);
    while let Some(read) = reader.next_row()? {
        validator.n_rows += 1;
        validator.n_unusable += usize::from(read.row.is_none());
        for problem in &read.problems {
            let message = match problem {
                TextError::Line { key, expected, found, .. } => format!("{key}: expected {expected}, found {found}"),
                other => other.to_string(),
            };
            validator.add(Severity::Error, FindingKind::Unusable, &read.source, None, message);
        }
        if let Some(row) = &read.row {
            validator.look_at(row);
        }
    }
    let Validator { n_rows, n_unusable, n_marked_placeholders, findings, .. } = validator;
    if n_rows == 0 {
        return Err(TextError::EmptyDataset { path: path.display().to_string() });
    }
    Ok(Validation { format: reader.format(), n_rows, n_unusable, n_marked_placeholders, findings })
}

/// What is known of the rows so far.
struct Validator<'a> {
    options: &'a ValidateOptions<'a>,
    n_rows: usize,
    n_unusable: usize,
    n_marked_placeholders: usize,
    findings: Vec<Finding>,
    /// Rows by the hash of their turns.
    rows: HashMap<String, SourceLine>,
    /// The first row with this prompt, and its answer.
    answers: HashMap<String, (SourceLine, String)>,
    asked: AskedIndex,
}

impl<'a> Validator<'a> {
    fn new(options: &'a ValidateOptions<'a>) -> Self {
        Self {
            options,
            n_rows: 0,
            n_unusable: 0,
            n_marked_placeholders: 0,
            findings: Vec::new(),
            rows: HashMap::new(),
            answers: HashMap::new(),
            asked: AskedIndex::new(options.similarity),
        }
    }

    fn add(&mut self, severity: Severity, kind: FindingKind, source: &SourceLine, earlier: Option<&SourceLine>, message: String) {
        self.findings.push(Finding { severity, kind, source: source.clone(), earlier: earlier.cloned(), message });
    }

    fn look_at(&mut self, row: &Row) {
        if row.is_placeholder {
            self.n_marked_placeholders += 1;
            let message = "the row is marked as a placeholder: training passes it over".to_owned();
            return self.add(Severity::Warning, FindingKind::Placeholder, &row.source, None, message);
        }
        self.look_at_texts(row);
        if row.messages.last().is_none_or(|message| message.role != Role::Assistant) {
            let message = "the question has no expected answer: it can be asked, but not judged, and training refuses it".to_owned();
            self.add(Severity::Warning, FindingKind::NoAnswer, &row.source, None, message);
        }
        self.compare_with_earlier(row);
    }

    /// Placeholders and control words.
    fn look_at_texts(&mut self, row: &Row) {
        for (index, message) in row.messages.iter().enumerate() {
            let turn = format!("turn {} ({})", index + 1, message.role);
            if let Some(found) = placeholder(&message.content).filter(|_| message.role == Role::Assistant) {
                let (severity, what) = if found.is_certain {
                    (Severity::Error, "the answer is a placeholder")
                } else {
                    (Severity::Warning, "the answer may hold a placeholder")
                };
                let message = format!("{turn}: {what}: {}", excerpt(&found.text, 60));
                self.add(severity, FindingKind::Placeholder, &row.source, None, message);
            }
            let words = self.control_words(&message.content);
            if !words.is_empty() {
                let message = format!("{turn}: holds {}, which is taken as ordinary text", words.join(", "));
                self.add(Severity::Warning, FindingKind::ControlWord, &row.source, None, message);
            }
        }
    }

    /// The control words in a text, each once.
    fn control_words(&self, text: &str) -> Vec<String> {
        let mut words: Vec<String> = match self.options.tokenizer {
            Some(tokenizer) => tokenizer.control_words(text).iter().map(|word| text[word.start..word.end].to_owned()).collect(),
            None => CONTROL_WORDS.iter().filter(|word| text.contains(**word)).map(|word| (*word).to_owned()).collect(),
        };
        words.sort();
        words.dedup();
        words
    }

    /// Duplicates, other answers to the same question, near-duplicates: the strongest of these is told, once.
    fn compare_with_earlier(&mut self, row: &Row) {
        let whole: String = row.messages.iter().map(|message| format!("{}\0{}\0", message.role, message.content)).collect();
        let hash = sha256_hex(whole.as_bytes());
        if let Some(earlier) = self.rows.get(&hash).cloned() {
            let message = format!("repeats {} to the letter", earlier.place());
            return self.add(Severity::Warning, FindingKind::Duplicate, &row.source, Some(&earlier), message);
        }
        self.rows.insert(hash, row.source.clone());

        let (prompt, answer) = match row.messages.split_last() {
            Some((answer, prompt)) if answer.role == Role::Assistant => (prompt, answer.content.as_str()),
            _ => (row.messages.as_slice(), ""),
        };
        let key = prompt_letters(prompt);
        let told = match self.answers.get(&key).cloned() {
            Some((earlier, other)) if letters(&other) != letters(answer) && !other.is_empty() && !answer.is_empty() => {
                let place = earlier.place();
                let message = format!(
                    "the question of {place} has another answer here: \"{}\", there \"{}\"",
                    excerpt(answer, 60),
                    excerpt(&other, 60)
                );
                self.add(Severity::Warning, FindingKind::OtherAnswer, &row.source, Some(&earlier), message);
                true
            }
            Some(_) => false,
            None => {
                self.answers.insert(key, (row.source.clone(), answer.to_owned()));
                false
            }
        };
        let questions: Vec<Asked> = Asked::all_of(row).collect();
        if !told {
            self.near_duplicate(row, &questions);
        }
        questions.into_iter().for_each(|asked| self.asked.insert(asked));
    }

    fn near_duplicate(&mut self, row: &Row, questions: &[Asked]) {
        let best = questions
            .iter()
            .flat_map(|asked| self.asked.same_as(asked))
            .reduce(|best, other| if other.similarity > best.similarity { other } else { best });
        if let Some(best) = best {
            let earlier = best.asked.source.clone();
            let how = if best.similarity >= 1.0 {
                "in the same words but for case, accents, spaces and punctuation".to_owned()
            } else {
                format!("in nearly the same words (similarity {:.2})", best.similarity)
            };
            let message = format!("asks the question of {} {how}: \"{}\"", earlier.place(), excerpt(&best.asked.text, 80));
            self.add(Severity::Warning, FindingKind::NearDuplicate, &row.source, Some(&earlier), message);
        }
    }
}
