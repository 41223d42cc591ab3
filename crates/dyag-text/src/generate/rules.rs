//! The rule file: fields, the labels they are found by, and how they are asked for. Two ship with the program; users edit their own.

use std::path::Path;

use regex::Regex;
use serde::Deserialize;

use super::placeholders::folded_placeholder;
use super::wording::fold;

const FRENCH: &str = include_str!("../../rules/fr.toml");
const ENGLISH: &str = include_str!("../../rules/en.toml");

/// A rule file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct RulesError {
    /// The file, or the name of a rule set that ships with the program.
    pub origin: String,
    /// What was expected, what was found, where.
    pub problem: String,
}

/// A rule file as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    language: String,
    signs: Vec<String>,
    system: String,
    name_keys: Vec<String>,
    id_keys: Vec<String>,
    #[serde(default)]
    name_labels: Vec<String>,
    placeholders: Vec<String>,
    unknown_answers: Vec<String>,
    #[serde(default)]
    phrase_questions: Vec<String>,
    #[serde(default)]
    combined_questions: Vec<String>,
    #[serde(default)]
    combined_answer: String,
    #[serde(default)]
    no_subjects: Vec<String>,
    #[serde(default)]
    clause_words: Vec<String>,
    #[serde(default)]
    kind: Vec<KindRule>,
    #[serde(default)]
    field: Vec<FieldFile>,
    key_value: Option<Wordings>,
    table: Option<Wordings>,
    section: Option<Wordings>,
    #[serde(default)]
    sentence: Vec<SentenceFile>,
    model: ModelPrompt,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldFile {
    name: String,
    difficulty: String,
    label: String,
    phrase: String,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    sections: Vec<String>,
    #[serde(default)]
    chunk_types: Vec<String>,
    #[serde(default)]
    details: Vec<String>,
    #[serde(default)]
    roles: Vec<String>,
    item: Option<String>,
    mentioned: Option<String>,
    #[serde(default)]
    text: bool,
    #[serde(default)]
    unknown: bool,
    questions: Vec<String>,
    #[serde(default)]
    more: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SentenceFile {
    name: String,
    difficulty: String,
    pattern: String,
    questions: Vec<String>,
}

/// What wordings call a document of some kind, and by what it is recognised.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KindRule {
    /// Words of the text, or keys of the metadata; one is enough.
    pub(crate) signs: Vec<String>,
    /// What stands before `{name}` in wordings, in every spelling.
    pub(crate) words: Vec<String>,
}

/// How something without a field of its own is asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wordings {
    pub(crate) difficulty: String,
    pub(crate) questions: Vec<String>,
}

/// How a language model is asked for facts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelPrompt {
    pub(crate) system: String,
    pub(crate) prompt: String,
    pub(crate) copied: String,
    pub(crate) check: String,
    pub(crate) about: String,
}

/// A field of a document, such as its status.
#[derive(Clone, Debug)]
pub(crate) struct FieldRule {
    /// Its name in files and reports: the category of its questions.
    pub(crate) name: String,
    pub(crate) difficulty: String,
    /// What it is called at the head of a line.
    pub(crate) label: String,
    /// What it is called within a sentence, with its article.
    pub(crate) phrase: String,
    /// Folded labels of lines that hold it.
    pub(crate) labels: Vec<String>,
    /// Folded headings or opening labels of parts that hold it.
    pub(crate) sections: Vec<String>,
    /// Kinds of chunk that are this field as a whole.
    pub(crate) chunk_types: Vec<String>,
    /// Folded labels inside its part that add to a value and are no value of their own: left out.
    pub(crate) beside: Vec<String>,
    /// Cuts the value out of an item, by a group named `value`.
    pub(crate) item: Option<Regex>,
    /// What may answer it in any passage: nobody claims then that the document does not.
    pub(crate) mentioned: Option<Regex>,
    /// Whether it is running text: one value, perhaps of several paragraphs.
    pub(crate) is_text: bool,
    /// Whether it makes sense to ask for it where the documents do not give it.
    pub(crate) may_be_unknown: bool,
    /// Wordings of question sets.
    pub(crate) questions: Vec<String>,
    /// Further wordings, for training.
    pub(crate) more: Vec<String>,
}

/// A kind of sentence whose subject can be asked for.
#[derive(Clone, Debug)]
pub(crate) struct SentenceRule {
    pub(crate) name: String,
    pub(crate) difficulty: String,
    pub(crate) pattern: Regex,
    pub(crate) questions: Vec<String>,
}

/// What to look for in documents of a language, and how to ask for it.
#[derive(Clone, Debug)]
pub struct Rules {
    pub(crate) origin: String,
    pub(crate) language: String,
    pub(crate) system: String,
    pub(crate) name_keys: Vec<String>,
    pub(crate) id_keys: Vec<String>,
    pub(crate) name_labels: Vec<String>,
    pub(crate) placeholders: Vec<String>,
    pub(crate) unknown_answers: Vec<String>,
    pub(crate) phrase_questions: Vec<String>,
    pub(crate) combined_questions: Vec<String>,
    pub(crate) combined_answer: String,
    pub(crate) no_subjects: Vec<String>,
    pub(crate) clause_words: Vec<String>,
    pub(crate) kinds: Vec<KindRule>,
    pub(crate) fields: Vec<FieldRule>,
    pub(crate) key_value: Option<Wordings>,
    pub(crate) table: Option<Wordings>,
    pub(crate) section: Option<Wordings>,
    pub(crate) sentences: Vec<SentenceRule>,
    pub(crate) model: ModelPrompt,
}

impl Rules {
    /// The languages whose rules ship with the program.
    pub const LANGUAGES: [&'static str; 2] = ["fr", "en"];

    /// The rules that ship with the program for a language, by its code.
    ///
    /// # Errors
    /// Another language than [`Rules::LANGUAGES`].
    pub fn shipped(language: &str) -> Result<Self, RulesError> {
        let text = Self::shipped_text(language).ok_or_else(|| RulesError {
            origin: language.to_owned(),
            problem: format!("no rules ship for this language: expected one of {}, or a rule file", Self::LANGUAGES.join(", ")),
        })?;
        Self::parse(text, &format!("the rules for \"{language}\""))
    }

    /// The text of the rules that ship with the program: what a user copies to write their own.
    pub fn shipped_text(language: &str) -> Option<&'static str> {
        match language {
            "fr" => Some(FRENCH),
            "en" => Some(ENGLISH),
            _ => None,
        }
    }

    /// Those shipped rules whose language the texts look like, by the share of their words that are signs of it.
    ///
    /// # Errors
    /// None in practice: shipped rules parse.
    pub fn for_texts<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Self, RulesError> {
        let mut sets = Self::LANGUAGES
            .iter()
            .map(|language| read_file(Self::shipped_text(language).unwrap_or(FRENCH), language))
            .collect::<Result<Vec<_>, _>>()?;
        let mut counts = vec![0_usize; sets.len()];
        for word in texts.take(200).flat_map(|text| text.split(|c: char| !c.is_alphanumeric()).take(300).map(fold).collect::<Vec<_>>()) {
            for (count, set) in counts.iter_mut().zip(&sets) {
                *count += usize::from(set.signs.contains(&word));
            }
        }
        // The first language where nothing speaks for another.
        let best = (0..sets.len()).rev().max_by_key(|index| counts[*index]).unwrap_or(0);
        let set = sets.swap_remove(best);
        let origin = format!("the rules for \"{}\"", set.language);
        Self::from_file(set, &origin)
    }

    /// Reads a rule file.
    ///
    /// # Errors
    /// A file that cannot be read, is no TOML, has unknown or missing keys, a pattern that is no regular expression, or wordings that use what they are not given.
    pub fn read(path: &Path) -> Result<Self, RulesError> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| RulesError { origin: origin.clone(), problem: format!("cannot be read: {error}") })?;
        Self::parse(&text, &origin)
    }

    /// Parses the text of a rule file; `origin` is its name in messages.
    ///
    /// # Errors
    /// As [`Rules::read`].
    pub fn parse(text: &str, origin: &str) -> Result<Self, RulesError> {
        Self::from_file(read_file(text, origin)?, origin)
    }

    fn from_file(file: RulesFile, origin: &str) -> Result<Self, RulesError> {
        let RulesFile {
            language,
            signs: _,
            system,
            name_keys,
            id_keys,
            name_labels,
            placeholders,
            unknown_answers,
            phrase_questions,
            combined_questions,
            combined_answer,
            no_subjects,
            clause_words,
            kind,
            field,
            key_value,
            table,
            section,
            sentence,
            model,
        } = file;
        let check = Check { origin };
        check.wordings("phrase_questions", &phrase_questions, &["name", "phrase"])?;
        check.wordings("combined_questions", &combined_questions, &["name", "phrase", "phrase2"])?;
        if !combined_questions.is_empty() {
            check.wordings("combined_answer", std::slice::from_ref(&combined_answer), &["label", "value", "label2", "value2"])?;
        }
        check.wordings("model.prompt", std::slice::from_ref(&model.prompt), &["name", "content", "n"])?;
        check.wordings("model.copied", std::slice::from_ref(&model.copied), &["name", "content", "value", "line"])?;
        check.wordings("model.check", std::slice::from_ref(&model.check), &["content", "question"])?;
        check.wordings("model.about", std::slice::from_ref(&model.about), &["name", "question"])?;
        if unknown_answers.is_empty() {
            return check.fail("unknown_answers: expected at least one answer, found none");
        }
        for (key, wordings, names) in [
            ("key_value", &key_value, &["name", "label"][..]),
            ("table", &table, &["name", "label", "row"]),
            ("section", &section, &["name", "heading"]),
        ] {
            if let Some(wordings) = wordings {
                check.wordings(&format!("{key}.questions"), &wordings.questions, names)?;
            }
        }
        let fields = field.into_iter().map(|field| check.field(field)).collect::<Result<Vec<_>, _>>()?;
        for (index, field) in fields.iter().enumerate() {
            if fields[..index].iter().any(|other| other.name == field.name) {
                return check.fail(format!("field {}: expected a name of its own, found a second field of that name", field.name));
            }
        }
        let sentences = sentence.into_iter().map(|sentence| check.sentence(sentence)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            origin: origin.to_owned(),
            language,
            system,
            name_keys,
            id_keys,
            name_labels: name_labels.iter().map(|label| fold(label)).collect(),
            placeholders: placeholders.iter().map(|placeholder| folded_placeholder(placeholder)).collect(),
            unknown_answers,
            phrase_questions,
            combined_questions,
            combined_answer,
            no_subjects: no_subjects.iter().map(|word| fold(word)).collect(),
            clause_words: clause_words.iter().map(|word| fold(word)).collect(),
            kinds: kind,
            fields,
            key_value,
            table,
            section,
            sentences,
            model,
        })
    }

    /// The language's code.
    pub fn language(&self) -> &str {
        &self.language
    }

    /// The system message of training conversations.
    pub fn system(&self) -> &str {
        &self.system
    }

    /// Answers to questions that the documents do not answer.
    pub fn unknown_answers(&self) -> &[String] {
        &self.unknown_answers
    }

    /// The file, or the name of a rule set that ships with the program.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Names of the fields: the categories of their questions.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.name.as_str())
    }
}

fn read_file(text: &str, origin: &str) -> Result<RulesFile, RulesError> {
    toml::from_str(text).map_err(|error| RulesError { origin: origin.to_owned(), problem: error.to_string().trim().replace('\n', "; ") })
}

/// Checks the parts of a rule file.
struct Check<'a> {
    origin: &'a str,
}

impl Check<'_> {
    fn fail<T>(&self, problem: impl Into<String>) -> Result<T, RulesError> {
        Err(RulesError { origin: self.origin.to_owned(), problem: problem.into() })
    }

    /// Wordings use only names they are given, and those they cannot do without.
    fn wordings(&self, place: &str, wordings: &[String], names: &[&str]) -> Result<(), RulesError> {
        for wording in wordings {
            let mut rest = wording.as_str();
            while let Some(open) = rest.find('{') {
                let Some(close) = rest[open..].find('}') else {
                    return self.fail(format!("{place}: expected a }} after {{ in \"{wording}\""));
                };
                let name = &rest[open + 1..open + close];
                if !names.contains(&name) {
                    let known = names.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ");
                    return self.fail(format!("{place}: expected {known}, found {{{name}}} in \"{wording}\""));
                }
                rest = &rest[open + close + 1..];
            }
            if wording.trim().is_empty() {
                return self.fail(format!("{place}: expected a wording, found an empty text"));
            }
        }
        Ok(())
    }

    fn expression(&self, place: &str, pattern: &str) -> Result<Regex, RulesError> {
        regex::RegexBuilder::new(pattern).size_limit(1 << 22).build().or_else(|error| {
            let reason = error.to_string().replace('\n', " ");
            self.fail(format!("{place}: expected a regular expression, found \"{pattern}\": {reason}"))
        })
    }

    fn pattern(&self, place: &str, pattern: &str, group: &str) -> Result<Regex, RulesError> {
        let compiled = self.expression(place, pattern)?;
        if compiled.capture_names().flatten().all(|name| name != group) {
            return self.fail(format!("{place}: expected a group (?P<{group}>...), found none in \"{pattern}\""));
        }
        Ok(compiled)
    }

    fn field(&self, field: FieldFile) -> Result<FieldRule, RulesError> {
        let FieldFile {
            name,
            difficulty,
            label,
            phrase,
            labels,
            sections,
            chunk_types,
            details,
            roles,
            item,
            mentioned,
            text,
            unknown,
            questions,
            more,
        } = field;
        let place = format!("field {name}");
        self.wordings(&format!("{place}: questions"), &questions, &["name"])?;
        self.wordings(&format!("{place}: more"), &more, &["name"])?;
        if questions.is_empty() {
            return self.fail(format!("{place}: questions: expected at least one wording, found none"));
        }
        let folded = |labels: Vec<String>| labels.iter().map(|label| fold(label)).collect::<Vec<_>>();
        Ok(FieldRule {
            item: item.map(|item| self.pattern(&format!("{place}: item"), &item, "value")).transpose()?,
            mentioned: mentioned.map(|mentioned| self.expression(&format!("{place}: mentioned"), &mentioned)).transpose()?,
            name,
            difficulty,
            label,
            phrase,
            labels: folded(labels),
            sections: folded(sections),
            chunk_types,
            beside: folded(details.into_iter().chain(roles).collect()),
            is_text: text,
            may_be_unknown: unknown,
            questions,
            more,
        })
    }

    fn sentence(&self, sentence: SentenceFile) -> Result<SentenceRule, RulesError> {
        let SentenceFile { name, difficulty, pattern, questions } = sentence;
        let place = format!("sentence {name}");
        self.wordings(&format!("{place}: questions"), &questions, &["name", "subject"])?;
        Ok(SentenceRule { pattern: self.pattern(&format!("{place}: pattern"), &pattern, "subject")?, name, difficulty, questions })
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
