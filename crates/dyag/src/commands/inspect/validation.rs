//! `--validate`: everything that is wrong with a dataset, by line; the exit status says whether there are errors.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use dyag_text::Tokenizer;
use dyag_text::dataset::{Finding, FindingKind, Severity, ValidateOptions, Validation, validate};
use serde_json::{Value, json};

use super::MAX_LISTED;
use super::dataset::place;
use super::facts::one_line;
use crate::language::{Language, say};
use crate::terminal::{self, Paint};

pub(super) fn run(path: &Path, similarity: f64, tokenizer: Option<&Tokenizer>, paint: Paint, json: bool) -> anyhow::Result<ExitCode> {
    let validation = validate(path, &ValidateOptions { similarity, tokenizer })?;
    let n_errors = validation.count(Severity::Error);
    if json {
        terminal::print_json(&document(path, &validation))?;
    } else {
        print(path, &validation, paint)?;
    }
    Ok(if n_errors > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn document(path: &Path, validation: &Validation) -> Value {
    let Validation { format, n_rows, n_unusable, n_marked_placeholders, findings } = validation;
    let findings: Vec<Value> = findings
        .iter()
        .map(|Finding { severity, kind, source, earlier, message }| {
            json!({
                "severity": severity,
                "kind": kind,
                source.unit.name(): source.line,
                "earlier": earlier.as_ref().map(|earlier| earlier.line),
                "message": message,
            })
        })
        .collect();
    json!({
        "dataset": path.display().to_string(),
        "format": format.map(|format| format.name()),
        "n_rows": n_rows,
        "n_unusable": n_unusable,
        "n_marked_placeholders": n_marked_placeholders,
        "n_errors": validation.count(Severity::Error),
        "n_warnings": validation.count(Severity::Warning),
        "findings": findings,
    })
}

/// Errors first, so that none is lost where the list is cut.
fn print(path: &Path, validation: &Validation, paint: Paint) -> anyhow::Result<()> {
    let of = |severity| validation.findings.iter().filter(move |finding| finding.severity == severity);
    let listed: Vec<&Finding> = of(Severity::Error).chain(of(Severity::Warning)).collect();
    for finding in listed.iter().take(MAX_LISTED) {
        let severity = match finding.severity {
            Severity::Error => paint.bad(&say!("error", "erreur")),
            Severity::Warning => paint.doubtful(&say!("warning", "avertissement")),
        };
        terminal::print_line(say!("{}: {severity}: {}", "{} : {severity} : {}", place(&finding.source), one_line(&finding.message)))?;
    }
    if listed.len() > MAX_LISTED {
        terminal::print_line(say!(
            "... and {} more (--json lists all)",
            "... et {} autres (--json donne tout)",
            listed.len() - MAX_LISTED
        ))?;
    }
    terminal::print_line(summary(path, validation))
}

/// The file in a line.
fn summary(path: &Path, validation: &Validation) -> String {
    let Validation { format, n_rows, n_unusable, n_marked_placeholders: _, findings } = validation;
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in findings {
        *kinds.entry(in_words(finding.kind)).or_default() += 1;
    }
    let kinds: Vec<String> = kinds.into_iter().map(|(kind, n)| say!("{kind}: {n}", "{kind} : {n}")).collect();
    let detail = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    say!(
        "{}: {n_rows} rows, {}, {n_unusable} that cannot be used; {} errors, {} warnings{detail}",
        "{} : {n_rows} lignes, {}, dont {n_unusable} inutilisables ; {} erreurs, {} avertissements{detail}",
        path.display(),
        format.map_or_else(
            || say!("in no known format", "dans aucun format connu"),
            |format| say!("in the format {}", "au format {}", format.name())
        ),
        validation.count(Severity::Error),
        validation.count(Severity::Warning)
    )
}

/// A kind of finding, as the last line counts it.
fn in_words(kind: FindingKind) -> &'static str {
    match (Language::spoken(), kind) {
        (Language::English, _) => kind.name(),
        (Language::French, FindingKind::Unusable) => "lignes inutilisables",
        (Language::French, FindingKind::Placeholder) => "valeurs provisoires",
        (Language::French, FindingKind::Duplicate) => "doublons",
        (Language::French, FindingKind::NearDuplicate) => "quasi-doublons",
        (Language::French, FindingKind::OtherAnswer) => "autres réponses à la même question",
        (Language::French, FindingKind::ControlWord) => "mots de contrôle dans les textes",
        (Language::French, FindingKind::NoAnswer) => "questions sans réponse attendue",
    }
}
