//! The report on a training set in the language that is spoken: the library's own lines, or the same in French.

use std::collections::BTreeMap;

use dyag_text::generate::{Advice, DropReason, Report};

use crate::language::Language;

/// The report for people. Sentences on what is missing stay as the library has them.
pub(super) fn lines(report: &Report) -> Vec<String> {
    match Language::spoken() {
        Language::English => report.lines(),
        Language::French => french(report),
    }
}

fn french(report: &Report) -> Vec<String> {
    let counts = |counts: &BTreeMap<&'static str, usize>| {
        counts.iter().map(|(name, n)| format!("{n} {}", word(name))).collect::<Vec<_>>().join(", ")
    };
    let Report { method: _, requested, made, parts, kinds, contexts, categories, documents, facts, taught, wordings, dropped, shortfall } =
        report;
    let mut lines = vec![format!("{made} exemples sur {requested} : {}", counts(parts))];
    lines.push(format!("de {facts} faits en {wordings} formulations : {}", counts(kinds)));
    lines.push(format!(
        "documents : {} sur {} couverts, {} d'entre eux enseignés, {} à {} exemples chacun",
        documents.covered, documents.total, documents.taught, documents.fewest, documents.most
    ));
    lines.push(format!(
        "{} faits enseignés, {:.1} formulations en moyenne ; {} n'en ont qu'une",
        taught.facts,
        taught.mean_wordings(),
        taught.in_one_wording
    ));
    if let Some(Advice { count, wordings }) = taught.advice {
        lines.push(format!(
            "pour être su par cœur, un fait demande plusieurs formulations : --count {count} en donnerait environ {wordings:.1} à chacun ; moins de documents en demandent moins"
        ));
    }
    if !contexts.is_empty() {
        lines.push(format!("passages : {}", counts(contexts)));
    }
    if !documents.uncovered.is_empty() {
        let more = (documents.total - documents.covered).saturating_sub(documents.uncovered.len());
        let more = if more > 0 { format!(" et {more} autres") } else { String::new() };
        lines.push(format!("sans exemple : {}{more}", documents.uncovered.join(", ")));
    }
    let width = categories.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    lines.push("catégories :".to_owned());
    lines.extend(categories.iter().map(|(name, n)| format!("  {name:<width$} {n:>6}")));
    let dropped: Vec<String> = dropped.totals().map(|(reason, n)| format!("  {n:>6} {}", why(reason))).collect();
    if !dropped.is_empty() {
        lines.push("laissés de côté :".to_owned());
        lines.extend(dropped);
    }
    lines.extend(shortfall.iter().map(|sentence| format!("moins que demandé : {sentence}")));
    lines
}

/// A word of the report's counts.
fn word(name: &str) -> &str {
    match name {
        "train" => "pour l'entraînement",
        "val" => "pour la validation",
        "test" => "pour le test",
        "fact" => "d'un fait",
        "combined" => "de deux faits",
        "unanswerable" => "sans réponse dans les documents",
        "bearing" => "avec le passage qui répond",
        "none" => "sans passage",
        "withheld" => "sans le passage qui répond",
        other => other,
    }
}

fn why(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Placeholder => "un texte provisoire à la place d'une valeur",
        DropReason::TooLong => "réponse trop longue",
        DropReason::Conflicting => "des passages du document se contredisent",
        DropReason::Repeated => "un libellé figure deux fois sous un même titre",
        DropReason::Unsupported => "réponse introuvable dans son passage",
        DropReason::NearDuplicate => "presque la même question y est déjà",
        DropReason::Ambiguous => "la même question a des réponses différentes",
        DropReason::Malformed => "ni question ni réponse utilisables dans ce qu'écrit un modèle",
        DropReason::NotFoundAgain => "le modèle ne répond pas ainsi à sa propre question",
    }
}
