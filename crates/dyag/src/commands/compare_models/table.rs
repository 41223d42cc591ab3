//! A comparison on a terminal.

use std::fmt::Write as _;

use dyag_eval::comparison::{
    ClusteredBy, Comparison, CorpusComparison, MetricComparison, Pair, SideBySide, TrainingCheck, Unit, p_value_text,
};

/// The comparison, line by line.
pub(super) fn text(comparison: &Comparison, verbose: bool) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_all(&mut out, comparison, verbose);
    out
}

fn write_all(out: &mut String, comparison: &Comparison, verbose: bool) -> std::fmt::Result {
    let questions = &comparison.questions;
    let by = match questions.clustered_by {
        ClusteredBy::Document => format!("about {} documents", questions.n_documents),
        ClusteredBy::Question => "taken for independent".to_owned(),
    };
    let missing = if questions.mismatches.n > 0 { format!("; {} rows have no counterpart", questions.mismatches.n) } else { String::new() };
    writeln!(out, "{} questions, {by}{missing}", questions.n_compared)?;
    if verbose {
        for one in &questions.mismatches.listed {
            let id = one.id.as_ref().map(|id| format!("{id} ")).unwrap_or_default();
            writeln!(out, "  {}: {id}\"{}\": {}", one.arm, one.question, one.kind.words())?;
        }
    }
    write_side_by_side(out, comparison)?;
    for pair in &comparison.pairs {
        write_pair(out, comparison, pair, verbose)?;
    }
    for check in &comparison.training {
        write_training(out, comparison, check)?;
    }
    if !comparison.attribution.is_empty() {
        writeln!(out, "\nwhere wrong answers come from")?;
    }
    for found in &comparison.attribution {
        writeln!(
            out,
            "  {}: {} of {} wrong by {}: {} passage not found, {} passage not used, {} failed, {} not known",
            found.arm,
            found.n_wrong,
            found.n_judged,
            found.judged_by,
            found.retrieval.n,
            found.generation.n,
            found.failed.n,
            found.unknown.n
        )?;
    }
    let judgement = comparison.judgement.iter().flat_map(|one| one.pairs.iter().map(|pair| format!("{}: {}", one.model, pair.sentence())));
    write_list(out, "a judge's opinion, on which nothing else rests", judgement)?;
    write_list(out, "recommendations", comparison.recommendations.iter().map(|one| format!("{} [{}]", one.text, one.rule)))?;
    write_list(out, "notes", comparison.notes.iter().cloned())
}

/// What each scores, a column each.
fn write_side_by_side(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    let figures = comparison.side_by_side();
    if figures.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let names = comparison.arms.iter().map(|arm| arm.name.clone());
    let head: Vec<String> = std::iter::once("means over these questions".to_owned()).chain(names).collect();
    let row = |figure: &SideBySide<'_>| -> Vec<String> {
        std::iter::once(figure.label()).chain((0..comparison.arms.len()).map(|arm| figure.value(arm))).collect()
    };
    write_table(out, &std::iter::once(head).chain(figures.iter().map(row)).collect::<Vec<_>>())
}

fn write_training(out: &mut String, comparison: &Comparison, check: &TrainingCheck) -> std::fmt::Result {
    writeln!(out, "\nwhat training taught\n  {}", check.sentence())?;
    let interval = format!("difference, {} % interval", 100.0 * comparison.method.confidence);
    for group in check.groups.iter().filter(|group| !group.pairs.is_empty()) {
        writeln!(out, "  {} questions {}", group.n_questions, group.taught.words())?;
        for pair in &group.pairs {
            let header = ["metric", &pair.first, &pair.second, &interval, "p", "better on", "outcome"].map(str::to_owned);
            let rows = pair.metrics.iter().map(metric_row).chain(pair.corpus.iter().map(corpus_row));
            write_table(out, &std::iter::once(header).chain(rows).collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

fn write_list(out: &mut String, title: &str, items: impl Iterator<Item = String>) -> std::fmt::Result {
    for (index, item) in items.enumerate() {
        if index == 0 {
            writeln!(out, "\n{title}")?;
        }
        writeln!(out, "  - {item}")?;
    }
    Ok(())
}

fn write_pair(out: &mut String, comparison: &Comparison, pair: &Pair, verbose: bool) -> std::fmt::Result {
    writeln!(out, "\n{} against {}", pair.first, pair.second)?;
    let interval = format!("difference, {} % interval", 100.0 * comparison.method.confidence);
    if !(pair.metrics.is_empty() && pair.corpus.is_empty() && pair.cost.is_empty()) {
        let header = ["metric", &pair.first, &pair.second, &interval, "p", "better on", "outcome"].map(str::to_owned);
        let rows = pair.metrics.iter().map(metric_row).chain(pair.corpus.iter().map(corpus_row)).chain(pair.cost.iter().map(metric_row));
        write_table(out, &std::iter::once(header).chain(rows).collect::<Vec<_>>())?;
    }
    if !pair.set_figures.is_empty() {
        let header = ["figure of the set", &pair.first, &pair.second, "outcome"].map(str::to_owned);
        let rows = pair.set_figures.iter().map(|figure| {
            [figure.metric.clone(), Unit::Number.value(figure.first), Unit::Number.value(figure.second), figure.verdict.words().to_owned()]
        });
        write_table(out, &std::iter::once(header).chain(rows).collect::<Vec<_>>())?;
    }
    if verbose {
        for metric in &pair.metrics {
            write_details(out, pair, metric)?;
        }
    }
    Ok(())
}

fn metric_row(metric: &MetricComparison) -> [String; 7] {
    [
        metric.metric.clone(),
        metric.unit.value(metric.first_mean),
        metric.unit.value(metric.second_mean),
        metric.difference_text(),
        p_value_text(metric.p_adjusted),
        format!("{} / {}", metric.wins.first, metric.wins.second),
        metric.outcome(),
    ]
}

fn corpus_row(corpus: &CorpusComparison) -> [String; 7] {
    [
        corpus.metric.clone(),
        Unit::Number.value(corpus.first),
        Unit::Number.value(corpus.second),
        corpus.difference_text(),
        p_value_text(corpus.p_adjusted),
        String::new(),
        corpus.outcome(),
    ]
}

fn write_details(out: &mut String, pair: &Pair, metric: &MetricComparison) -> std::fmt::Result {
    if let Some(smallest) = metric.difference.smallest_detectable {
        writeln!(out, "  {}: this set shows differences from {} on, in eight of ten times", metric.metric, metric.unit.amount(smallest))?;
    }
    if metric.categories.is_empty() {
        return Ok(());
    }
    let header = [&format!("{} by category", metric.metric), &pair.first, &pair.second, "better on"].map(str::to_owned);
    let rows = metric.categories.iter().map(|one| {
        let wins = format!("{} / {}", one.wins.first, one.wins.second);
        [one.category.clone(), metric.unit.value(one.first_mean), metric.unit.value(one.second_mean), wins]
    });
    write_table(out, &std::iter::once(header).chain(rows).collect::<Vec<_>>())
}

/// Columns side by side, each as wide as its widest cell.
fn write_table(out: &mut String, rows: &[impl AsRef<[String]>]) -> std::fmt::Result {
    let n_columns = rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.as_ref().get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    for row in rows {
        let mut line = String::from("  ");
        for (cell, width) in row.as_ref().iter().zip(&widths) {
            write!(line, "{cell:<width$}  ")?;
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
