//! CSV and TSV: rows with the header's keys. A column of ids or names makes it a catalogue, else it is a table.

use serde_json::{Map, Value};

use super::error::DocumentError;
use super::outline::{BlockKind, Outline, table};
use super::record::{ID_KEYS, NAME_KEYS, Record, normal_key};

/// What a CSV file holds.
pub(super) enum Table {
    /// An entry a row.
    Records(Vec<Record>),
    /// Rows without a name of their own.
    Outline(Outline),
}

const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Reads rows; the delimiter is found.
///
/// # Errors
/// What the CSV reader refuses, and a file without a row below its header.
pub(super) fn read(text: &str, path: &str, source_id: &str) -> Result<Table, DocumentError> {
    let delimiter = delimiter(text);
    let mut rows = Vec::new();
    for row in reader(text, delimiter).into_records() {
        let row = row.map_err(|error| DocumentError::broken(path, "CSV", error))?;
        let row: Vec<String> = row.iter().map(|cell| cell.trim().to_owned()).collect();
        if row.iter().any(|cell| !cell.is_empty()) {
            rows.push(row);
        }
    }
    if rows.len() < 2 {
        return Err(DocumentError::NoText { path: path.to_owned(), hint: "expected a line of column names and at least one row below it" });
    }
    let has = |keys: &[&str]| rows[0].iter().any(|name| keys.contains(&normal_key(name).as_str()));
    if !has(&ID_KEYS) && !has(&NAME_KEYS) {
        let mut outline = Outline::default();
        outline.block(BlockKind::Table, &table(&rows));
        return Ok(Table::Outline(outline));
    }
    let header = rows.remove(0);
    let records = rows.into_iter().enumerate().map(|(index, row)| Record::new(fields(&header, row), source_id, index));
    Ok(Table::Records(records.collect()))
}

/// A row by column. Columns without a name, and those that share one, are told apart by their number.
fn fields(header: &[String], row: Vec<String>) -> Map<String, Value> {
    let mut fields = Map::new();
    for (column, cell) in row.into_iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
        let mut name = header.get(column).cloned().unwrap_or_default();
        if name.is_empty() {
            name = format!("colonne {}", column + 1);
        }
        if fields.contains_key(&name) {
            name = format!("{name} ({})", column + 1);
        }
        fields.insert(name, cell.into());
    }
    fields
}

fn reader(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(text.as_bytes())
}

/// The delimiter by which most of the first rows have the header's number of columns; of several, the one that makes the most columns.
fn delimiter(text: &str) -> u8 {
    let agreeing = |delimiter: u8| {
        let widths: Vec<usize> = reader(text, delimiter).records().take(50).map_while(Result::ok).map(|row| row.len()).collect();
        let header = widths.first().copied().unwrap_or(0);
        let n_same = widths.iter().filter(|width| **width == header).count();
        (header > 1, 10 * n_same / widths.len().max(1), header)
    };
    // The last of equals wins in max_by_key, so the usual comma comes last.
    DELIMITERS.into_iter().rev().max_by_key(|delimiter| agreeing(*delimiter)).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_found() {
        assert_eq!(delimiter("a;b\n1,5;2\n3,5;4\n"), b';');
        assert_eq!(delimiter("a,b,c\n1;2,3,4\n"), b',');
        assert_eq!(delimiter("a\tb\n1\t2\n"), b'\t');
        assert_eq!(delimiter("seul\n1\n"), b',');
    }

    #[test]
    fn a_column_of_names_makes_a_catalogue() {
        let Ok(Table::Records(records)) = read("Code;Libellé;Note\n7;\"Un; deux\";\n8;Trois;x;y\n", "a.csv", "a.csv") else {
            panic!("records")
        };
        assert_eq!((records[0].id.as_str(), records[0].name.as_str()), ("7", "Un; deux"));
        assert_eq!(records[1].fields["colonne 4"], "y");
        let Ok(Table::Outline(outline)) = read("an,valeur\n2020,1\n2021,2\n", "a.csv", "a.csv") else { panic!("a table") };
        assert_eq!(outline.sections[0].blocks[0].text, "| an | valeur |\n| --- | --- |\n| 2020 | 1 |\n| 2021 | 2 |");
    }
}
