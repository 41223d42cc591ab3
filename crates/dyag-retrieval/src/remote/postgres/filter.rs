//! Filters as SQL over the table of properties: what passes is what [`Filter::passes`] says.

use postgres::types::ToSql;

use crate::filter::{Comparison, Filter};

/// Values of a statement in their order; the first is `$1`.
pub(super) type Values = Vec<Box<dyn ToSql + Sync>>;

/// Conditions on `collection` and `chunk` of the row `row`, each beginning with AND; their values are added to `values`.
pub(super) fn conditions(filter: &Filter, row: &str, values: &mut Values) -> String {
    let mut sql = String::new();
    for condition in &filter.conditions {
        let mut parameter = |value: Box<dyn ToSql + Sync>| {
            values.push(value);
            format!("${}", values.len())
        };
        let sign = match condition.comparison {
            Comparison::OneOf | Comparison::NoneOf => None,
            Comparison::Less => Some("<"),
            Comparison::AtMost => Some("<="),
            Comparison::Greater => Some(">"),
            Comparison::AtLeast => Some(">="),
        };
        let key = parameter(Box::new(known(&condition.key)));
        let accepted = match sign {
            None => {
                let wanted: Vec<String> = condition.values.iter().filter(|value| !value.contains('\0')).cloned().collect();
                format!("p.value = ANY ({}::text[])", parameter(Box::new(wanted)))
            }
            // No number compares with one that is not there.
            Some(sign) => {
                let limit = condition.values.first().and_then(|value| value.parse::<f64>().ok()).filter(|limit| !limit.is_nan());
                format!("p.number {sign} {}::float8", parameter(Box::new(limit)))
            }
        };
        let not = if condition.comparison == Comparison::NoneOf { "NOT " } else { "" };
        sql.push_str(&format!(
            " AND {not}EXISTS (SELECT FROM dyag.properties p WHERE p.collection = {row}.collection AND p.chunk = {row}.chunk AND p.key = {key} AND {accepted})"
        ));
    }
    sql
}

/// A key that a row may have: none has one with a zero byte.
fn known(key: &str) -> Option<String> {
    (!key.contains('\0')).then(|| key.to_owned())
}

/// The number that a property's value is compared as.
pub(super) fn number(value: &str) -> Option<f64> {
    value.trim().parse::<f64>().ok().filter(|number| !number.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_parameters_and_never_part_of_the_statement() {
        let filter = Filter::parse(&["a'b=x') OR 1=1 --|y", "n<3", "z!=$1"]).expect("a filter");
        let mut values: Values = vec![Box::new(1i64)];
        let sql = conditions(&filter, "c", &mut values);
        assert_eq!(values.len(), 7);
        assert!(
            sql.contains("$2 AND p.value = ANY ($3::text[])") && sql.contains("p.number < $5::float8") && sql.contains(" AND NOT EXISTS"),
            "{sql}"
        );
        assert!(!sql.contains("OR 1") && !sql.contains("a'b") && !sql.contains("= $1)"), "{sql}");
    }

    #[test]
    fn numbers_are_what_filters_compare() {
        for (text, expected) in
            [("3", Some(3.0)), (" 1e3 ", Some(1000.0)), ("inf", Some(f64::INFINITY)), ("nan", None), ("3 m", None), ("", None)]
        {
            assert_eq!(number(text), expected, "{text:?}");
        }
    }
}
