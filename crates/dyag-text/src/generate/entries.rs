//! What a passage is made of, line by line: headings, labelled lines, items of lists, rows of tables, paragraphs.

use super::wording::fold;

/// Longest label of a line, in characters.
const MAX_LABEL_CHARS: usize = 60;
/// Most words of a label that no rule knows, at the head of a line that is no item of a list.
const MAX_BARE_LABEL_WORDS: usize = 4;

/// A labelled line, or an item of a list without a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The label as written; none: an item.
    pub(crate) label: Option<String>,
    /// What follows the label, or the item; running text may go on over several lines.
    pub(crate) value: String,
    /// The line without its bullet.
    pub(crate) raw: String,
    /// Index of the part it stands in.
    pub(crate) part: usize,
    /// The label that opened the list it stands in (`- Acteurs:`), as written.
    pub(crate) parent: Option<String>,
    /// Whether it stands below that label, and not only after it: indented further, or an item after a label that is none.
    pub(crate) is_nested: bool,
}

/// A heading and what stands below it, up to the next heading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartText {
    /// The heading; empty before the first one.
    pub(crate) heading: String,
    /// The text, without the white space around it.
    pub(crate) body: String,
    /// Its paragraphs that are no list, label, table or code.
    pub(crate) paragraphs: Vec<String>,
}

/// A table: cells as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// The parts of a passage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) entries: Vec<Entry>,
    pub(crate) parts: Vec<PartText>,
    pub(crate) tables: Vec<Table>,
}

/// What is known of labels: whether a folded label belongs to a rule, and whether running text follows it.
pub(crate) trait Labels {
    fn is_known(&self, folded: &str) -> bool;
    fn opens_text(&self, folded: &str) -> bool;
}

/// What the last lines belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    /// The last entry; `text`: also after a blank line.
    Entry {
        text: bool,
    },
    Paragraph,
}

/// A label without a value: what follows is said of it.
struct Opener {
    label: String,
    indent: usize,
    is_item: bool,
    /// Whether something stands below it already.
    has_nested: bool,
}

struct Parser<'a> {
    labels: &'a dyn Labels,
    parsed: Parsed,
    open: Open,
    /// The labels that lists stand below, from outside inwards.
    openers: Vec<Opener>,
    /// How far the line that is read is indented, and whether it is an item of a list.
    indent: usize,
    is_item: bool,
    body: Vec<&'a str>,
    table: Vec<Vec<String>>,
}

/// Takes a passage apart.
pub(crate) fn parse(text: &str, labels: &dyn Labels) -> Parsed {
    let parts = vec![PartText::default()];
    let mut parser = Parser {
        labels,
        parsed: Parsed { parts, ..Parsed::default() },
        open: Open::Nothing,
        openers: Vec::new(),
        indent: 0,
        is_item: false,
        body: Vec::new(),
        table: Vec::new(),
    };
    let mut fence: Option<&str> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        let marker = ["```", "~~~"].into_iter().find(|marker| trimmed.starts_with(marker));
        match (fence, marker) {
            (None, Some(marker)) => {
                parser.end_table();
                parser.open = Open::Nothing;
                fence = Some(marker);
                parser.body.push(line);
            }
            (Some(open), _) => {
                parser.body.push(line);
                if Some(open) == marker {
                    fence = None;
                }
            }
            (None, None) => parser.line(line),
        }
    }
    parser.end_table();
    parser.end_part();
    parser.parsed
}

impl Opener {
    /// Whether a line stands below it.
    fn holds(&self, indent: usize, is_item: bool) -> bool {
        indent > self.indent || (indent == self.indent && is_item && !self.is_item)
    }
}

impl<'a> Parser<'a> {
    fn line(&mut self, line: &'a str) {
        let trimmed = line.trim();
        self.indent = line.len() - line.trim_start().len();
        self.is_item = item(trimmed).is_some();
        if let Some(heading) = heading(trimmed) {
            self.end_table();
            return self.heading(heading);
        }
        self.body.push(line);
        if trimmed.starts_with('|') {
            self.open = Open::Nothing;
            self.table.push(cells(trimmed));
            return;
        }
        self.end_table();
        if trimmed.is_empty() {
            if self.open != (Open::Entry { text: true }) {
                self.open = Open::Nothing;
            }
            return;
        }
        if let Some(item) = item(trimmed) {
            return self.item(item);
        }
        match label_of(trimmed) {
            Some((label, value, sure)) if sure || self.is_label(label) => self.labelled(label, value, trimmed),
            _ => self.running_text(trimmed),
        }
    }

    /// Whether `label`, at the head of a line that is no item, is a label and not the beginning of a sentence.
    fn is_label(&self, label: &str) -> bool {
        let folded = fold(label);
        let in_text = matches!(self.open, Open::Entry { text: true } | Open::Paragraph);
        self.labels.is_known(&folded) || (!in_text && label.split_whitespace().count() <= MAX_BARE_LABEL_WORDS)
    }

    fn heading(&mut self, heading: &str) {
        if let Some((label, value, _)) = label_of(heading)
            && self.labels.is_known(&fold(label))
            && !value.is_empty()
        {
            self.push(Some(label), value, heading);
            self.open = Open::Nothing;
            return;
        }
        self.end_part();
        self.parsed.parts.push(PartText { heading: heading.to_owned(), ..PartText::default() });
        self.open = Open::Nothing;
        self.openers.clear();
    }

    fn item(&mut self, item: &'a str) {
        match label_of(item) {
            Some((label, value, _)) => self.labelled(label, value, item),
            None => {
                self.push(None, item, item);
                self.open = Open::Entry { text: false };
            }
        }
    }

    fn labelled(&mut self, label: &str, value: &str, raw: &str) {
        let folded = fold(label);
        if value.is_empty() && !self.labels.opens_text(&folded) {
            while self.openers.pop_if(|opener| !opener.holds(self.indent, self.is_item)).is_some() {}
            if let Some(above) = self.openers.last_mut() {
                above.has_nested = true;
            }
            let (indent, is_item) = (self.indent, self.is_item);
            self.openers.push(Opener { label: label.to_owned(), indent, is_item, has_nested: false });
            self.open = Open::Nothing;
            return;
        }
        self.push(Some(label), value, raw);
        self.open = Open::Entry { text: self.labels.opens_text(&folded) };
    }

    fn running_text(&mut self, line: &str) {
        let append = |text: &mut String| {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(line);
        };
        match (self.open, self.parsed.entries.last_mut()) {
            (Open::Entry { .. }, Some(entry)) => append(&mut entry.value),
            (Open::Paragraph, _) => {
                if let Some(paragraph) = self.part().paragraphs.last_mut() {
                    append(paragraph);
                }
            }
            _ => {
                self.part().paragraphs.push(line.to_owned());
                self.open = Open::Paragraph;
            }
        }
    }

    fn push(&mut self, label: Option<&str>, value: &str, raw: &str) {
        let part = self.parsed.parts.len() - 1;
        // Catalogues also write what belongs to a label after it, in lines like its own: as long as nothing stands below it.
        let (indent, is_item) = (self.indent, self.is_item);
        let is_like = |opener: &Opener| opener.indent == indent && opener.is_item == is_item && !opener.has_nested;
        while self.openers.pop_if(|opener| !opener.holds(indent, is_item) && !is_like(opener)).is_some() {}
        let (mut parent, mut is_nested) = (None, false);
        if let Some(opener) = self.openers.last_mut() {
            is_nested = opener.holds(indent, is_item);
            opener.has_nested |= is_nested;
            parent = Some(opener.label.clone());
        }
        let (label, value, raw) = (label.map(str::to_owned), value.to_owned(), raw.to_owned());
        self.parsed.entries.push(Entry { label, value, raw, part, parent, is_nested });
    }

    fn part(&mut self) -> &mut PartText {
        let last = self.parsed.parts.len() - 1;
        &mut self.parsed.parts[last]
    }

    fn end_part(&mut self) {
        let body = std::mem::take(&mut self.body).join("\n").trim().to_owned();
        self.part().body = body;
    }

    /// A table is one whose second row is dashes.
    fn end_table(&mut self) {
        let mut rows = std::mem::take(&mut self.table);
        let is_rule = |row: &Vec<String>| row.iter().all(|cell| !cell.is_empty() && cell.chars().all(|c| matches!(c, '-' | ':' | ' ')));
        if rows.len() > 2 && is_rule(&rows[1]) {
            let rest = rows.split_off(2);
            rows.truncate(1);
            let head = rows.remove(0);
            self.parsed.tables.push(Table { head, rows: rest });
        }
    }
}

/// The text of a heading line.
fn heading(line: &str) -> Option<&str> {
    let level = line.bytes().take_while(|byte| *byte == b'#').count();
    let rest = &line[level..];
    ((1..=6).contains(&level) && rest.starts_with([' ', '\t'])).then(|| rest.trim().trim_end_matches('#').trim_end())
}

/// The text of an item of a list.
fn item(line: &str) -> Option<&str> {
    if let Some(rest) = line.strip_prefix(['-', '*', '+', '•']) {
        return rest.starts_with([' ', '\t']).then(|| rest.trim());
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let rest = line[digits..].strip_prefix(['.', ')'])?;
    ((1..=3).contains(&digits) && rest.starts_with(' ')).then(|| rest.trim())
}

/// Splits `Label: value`, `Label : value`, `**Label:** value` and `**Label** : value`. The flag says that emphasis makes the label sure.
fn label_of(text: &str) -> Option<(&str, &str, bool)> {
    if let Some(rest) = text.strip_prefix("**") {
        let (inside, after) = rest.split_once("**")?;
        let (label, value) = match inside.trim_end().strip_suffix(':') {
            Some(label) => (label, after),
            None => (inside, after.trim_start().strip_prefix(':')?),
        };
        return is_plausible(label.trim()).then(|| (label.trim(), value.trim(), true));
    }
    let colon = text
        .match_indices(':')
        .map(|(at, _)| at)
        .find(|at| text[at + 1..].is_empty() || text[at + 1..].starts_with([' ', '\t', '\u{a0}']))?;
    let label = text[..colon].trim();
    is_plausible(label).then(|| (label, text[colon + 1..].trim(), false))
}

fn is_plausible(label: &str) -> bool {
    let n = label.chars().count();
    (1..=MAX_LABEL_CHARS).contains(&n)
        && label.contains(char::is_alphanumeric)
        && !label.contains(['*', '[', ']', '<', '>', '|', '"', '?', '!', ';', ':'])
        && !label.contains(". ")
        && !label.contains("://")
        && label.split_whitespace().count() <= 8
}

fn cells(row: &str) -> Vec<String> {
    let inside = row.trim_start_matches('|');
    let inside = inside.strip_suffix('|').unwrap_or(inside);
    let mut cells = vec![String::new()];
    let mut characters = inside.chars().peekable();
    while let Some(c) = characters.next() {
        let last = cells.len() - 1;
        match c {
            '\\' if characters.peek() == Some(&'|') => {
                characters.next();
                cells[last].push('|');
            }
            '|' => cells.push(String::new()),
            other => cells[last].push(other),
        }
    }
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known;

    impl Labels for Known {
        fn is_known(&self, folded: &str) -> bool {
            ["statut", "descriptif", "application", "portee", "acteur"].contains(&folded)
        }

        fn opens_text(&self, folded: &str) -> bool {
            folded == "descriptif"
        }
    }

    fn labelled(text: &str) -> Vec<(String, String)> {
        parse(text, &Known).entries.into_iter().map(|entry| (entry.label.unwrap_or_default(), entry.value)).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn labels_in_every_shape() {
        let text = "**Nom complet:** A : b\n**Statut**: En service\n- Lieu : ici\n* Voie: [Site](https://x.org/)\nPortée: Nationale\n- [Site](https://y.org)\n1. premier";
        assert_eq!(
            labelled(text),
            pairs(&[
                ("Nom complet", "A : b"),
                ("Statut", "En service"),
                ("Lieu", "ici"),
                ("Voie", "[Site](https://x.org/)"),
                ("Portée", "Nationale"),
                ("", "[Site](https://y.org)"),
                ("", "premier"),
            ])
        );
    }

    #[test]
    fn running_text_belongs_to_its_label_until_the_next() {
        let text = "- Descriptif: Une ligne.\n\nLes avantages attendus pour l'usager sont: * Gain\nFNV : Portail\n- Portée: Nationale\nsuite\n\nAutre paragraphe.";
        assert_eq!(
            labelled(text),
            pairs(&[
                ("Descriptif", "Une ligne.\nLes avantages attendus pour l'usager sont: * Gain\nFNV : Portail"),
                ("Portée", "Nationale\nsuite")
            ])
        );
        assert_eq!(parse(text, &Known).parts[0].paragraphs, ["Autre paragraphe."]);
    }

    #[test]
    fn parts_parents_and_headings_that_are_labels() {
        let parsed = parse("## Application: A\n# Statut: vieux\n- Acteurs:\n- Acteur: B\n## Notes\n\nUn mot.\n", &Known);
        assert_eq!(parsed.entries.len(), 3);
        assert_eq!(parsed.entries[2].parent.as_deref(), Some("Acteurs"));
        assert_eq!(parsed.parts.len(), 2);
        assert_eq!((parsed.parts[1].heading.as_str(), parsed.parts[1].body.as_str()), ("Notes", "Un mot."));
    }

    #[test]
    fn lists_below_lists_end_where_their_indent_does() {
        let parents = |text: &str| -> Vec<(String, Option<String>, bool)> {
            parse(text, &Known).entries.into_iter().map(|entry| (entry.value, entry.parent, entry.is_nested)).collect()
        };
        let of = |value: &str, parent: &str, nested: bool| (value.to_owned(), Some(parent.to_owned()), nested);
        let alone = |value: &str| (value.to_owned(), None, false);
        assert_eq!(parents("- Contacts:\n  - a@b.fr\n- Étage : 3"), [of("a@b.fr", "Contacts", true), alone("3")]);
        assert_eq!(parents("Salle Ariane :\n- Capacité : 12\n\nÉtage : 2"), [of("12", "Salle Ariane", true), alone("2")]);
        let levels = "- Bâtiment A:\n  - Accès:\n    - Porte : nord\n  - Étages : 3\n- Bâtiment B:\n  - Étages : 5";
        assert_eq!(parents(levels), [of("nord", "Accès", true), of("3", "Bâtiment A", true), of("5", "Bâtiment B", true)]);
        assert_eq!(parents("- Acteurs:\n- Acteur: B\n- Acteur: C"), [of("B", "Acteurs", false), of("C", "Acteurs", false)]);
    }

    #[test]
    fn tables_need_a_rule_below_their_head() {
        let parsed = parse("| a | b |\n|---|:-:|\n| x \\| y | z |\n\n| no | table |\n", &Known);
        let table = Table { head: vec!["a".into(), "b".into()], rows: vec![vec!["x | y".into(), "z".into()]] };
        assert_eq!(parsed.tables, [table]);
        assert!(parse("```\nStatut: x\n```\n", &Known).entries.is_empty());
    }
}
