//! Figures over a set, from its rows, under the names that the original program gave them.

use std::collections::BTreeMap;

use super::{Row, SetMetrics};

/// A figure of a row.
type OfRow<'a> = &'a dyn Fn(&Row) -> Option<f64>;

impl SetMetrics {
    /// The figures of `rows`: `success_rate` and `exact_match_rate` in percent, `avg_time_seconds`, `avg_tokens`, `total_tokens`, `errors`; and
    /// `avg_NAME` for each metric, over the rows that have it. What no row has is left out.
    pub fn of_rows(rows: &[Row]) -> Self {
        let mut values = BTreeMap::new();
        if rows.is_empty() {
            return Self::default();
        }
        let errors = rows.iter().filter(|row| row.error.is_some()).count();
        values.insert("errors".to_owned(), errors as f64);
        values.insert("success_rate".to_owned(), 100.0 * (rows.len() - errors) as f64 / rows.len() as f64);
        let mut sums: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
        for (name, value) in rows.iter().flat_map(|row| &row.metrics) {
            let (sum, n) = sums.entry(name).or_default();
            *sum += value;
            *n += 1;
        }
        for (name, (sum, n)) in sums {
            let (name, scale) = if name == "exact_match" { ("exact_match_rate".to_owned(), 100.0) } else { (format!("avg_{name}"), 1.0) };
            values.insert(name, scale * sum / n as f64);
        }
        let mean = |numbers: &[f64]| (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64);
        let seconds: [(&str, OfRow<'_>); 3] = [
            ("avg_time_seconds", &|row| row.time_seconds),
            ("avg_first_token_seconds", &|row| row.first_token_seconds),
            ("avg_latency_seconds", &|row| row.latency_seconds),
        ];
        for (name, of) in seconds {
            let times: Vec<f64> = rows.iter().filter_map(of).collect();
            values.extend(mean(&times).map(|time| (name.to_owned(), time)));
        }
        let sum_out: u64 = rows.iter().filter(|row| row.time_seconds.is_some()).filter_map(|row| row.tokens_out).sum();
        let sum_seconds: f64 = rows.iter().filter(|row| row.tokens_out.is_some()).filter_map(|row| row.time_seconds).sum();
        if sum_out > 0 && sum_seconds > 0.0 {
            values.insert("tokens_per_second".to_owned(), sum_out as f64 / sum_seconds);
        }
        let tokens: Vec<f64> = rows.iter().filter_map(|row| row.total_tokens().map(|tokens| tokens as f64)).collect();
        values.extend(mean(&tokens).map(|tokens| ("avg_tokens".to_owned(), tokens)));
        if !tokens.is_empty() {
            values.insert("total_tokens".to_owned(), tokens.iter().sum());
        }
        Self { values, ..Self::default() }
    }
}
