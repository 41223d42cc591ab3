//! docs/troubleshooting.md quotes messages that this program prints: the fixed parts of each stand, in their order, in one string of the source.

use std::fs;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::str::Chars;

/// What stands in a quoted message for something that differs from time to time.
const PLACEHOLDER: &str = "...";

/// So many characters of a message must be fixed at least, so that it is not found by chance.
const MIN_FIXED_CHARS: usize = 12;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The first cells of the page's tables that are code: messages, without their quotes.
fn quoted_messages(page: &str) -> Vec<&str> {
    let first_cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    first_cells.filter_map(|cell| Some(cell.trim().strip_prefix('`')?.strip_suffix('`')?.trim_matches('`').trim())).collect()
}

/// The parts of a message that never differ.
fn fixed_parts(message: &str) -> Vec<&str> {
    message.split(PLACEHOLDER).map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// Whether a string holds the parts, one after the other.
fn holds(string: &str, parts: &[&str]) -> bool {
    let mut rest = string;
    parts.iter().all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// The strings of a source file as the program has them: comments and tests left out, continued lines joined, doubled braces of formats single.
fn strings(source: &str) -> Vec<String> {
    let shipped = source.split("#[cfg(test)]\nmod tests {").next().expect("one part at least");
    let mut chars = shipped.chars().peekable();
    let mut found = Vec::new();
    while let Some(c) = chars.next() {
        match c {
            '/' if chars.peek() == Some(&'/') => skip_line(&mut chars),
            '"' => found.push(plain_string(&mut chars)),
            'r' if matches!(chars.peek(), Some('"' | '#')) => found.extend(raw_string(&mut chars)),
            '\'' => skip_char(&mut chars),
            _ => {}
        }
    }
    found.into_iter().map(|string| string.replace("{{", "{").replace("}}", "}")).collect()
}

fn skip_line(chars: &mut Peekable<Chars<'_>>) {
    let _ = chars.by_ref().find(|c| *c == '\n');
}

/// The rest of a character such as `'"'` or `'\''`; of a lifetime nothing.
fn skip_char(chars: &mut Peekable<Chars<'_>>) {
    let mut ahead = chars.clone();
    let len = match (ahead.next(), ahead.next()) {
        (Some('\\'), Some('u')) => ahead.position(|c| c == '\'').map(|at| at + 3),
        (Some('\\'), Some(_)) => Some(3),
        (Some(_), Some('\'')) => Some(2),
        _ => None,
    };
    for _ in 0..len.unwrap_or(0) {
        chars.next();
    }
}

/// The string that goes on after its opening quote.
fn plain_string(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut string = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('\n') => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                Some('n') => string.push('\n'),
                Some(escaped) => string.push(escaped),
                None => break,
            },
            c => string.push(c),
        }
    }
    string
}

/// The string that goes on after its `r`; none where that began a name such as `r#type`.
fn raw_string(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut n_hashes = 0;
    while chars.next_if_eq(&'#').is_some() {
        n_hashes += 1;
    }
    chars.next_if_eq(&'"')?;
    let end = format!("\"{}", "#".repeat(n_hashes));
    let mut string = String::new();
    while !string.ends_with(&end) {
        string.push(chars.next()?);
    }
    string.truncate(string.len() - end.len());
    Some(string)
}

/// All strings of the crates that are shipped.
fn strings_of_the_program() -> Vec<String> {
    let mut open: Vec<PathBuf> = fs::read_dir(root().join("crates"))
        .expect("crates")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| !path.ends_with("dyag-testing"))
        .map(|path| path.join("src"))
        .collect();
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "tests" {
                    open.push(path);
                }
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                found.extend(strings(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))));
            }
        }
    }
    found
}

#[test]
fn every_message_of_the_page_is_one_that_the_program_prints() {
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).expect("the page");
    let messages = quoted_messages(&page);
    assert!(messages.len() >= 30, "{} messages", messages.len());
    let strings = strings_of_the_program();
    assert!(strings.len() > 1000, "{} strings", strings.len());
    let mut rotten = Vec::new();
    for message in messages {
        let parts = fixed_parts(message);
        let n_fixed: usize = parts.iter().map(|part| part.chars().count()).sum();
        assert!(n_fixed >= MIN_FIXED_CHARS, "docs/troubleshooting.md quotes too little of a message: {message}");
        if !strings.iter().any(|string| holds(string, &parts)) {
            rotten.push(message);
        }
    }
    assert!(rotten.is_empty(), "docs/troubleshooting.md quotes what no string of the program says:\n{}", rotten.join("\n"));
}

#[test]
fn no_message_stands_twice_on_the_page() {
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).expect("the page");
    let mut messages = quoted_messages(&page);
    let n = messages.len();
    messages.sort_unstable();
    messages.dedup();
    assert_eq!(messages.len(), n);
}

#[test]
fn strings_are_found_as_the_program_has_them() {
    let source = concat!(
        "// \"a comment\"\n",
        "const A: &str = \"one \\\n        line, {{\\\"key\\\"}}\";\n",
        "fn f<'a>(x: &'a str) { g('\"', '\\'', '\\\\', '\\u{a0}', \"after characters\"); }\n",
        "const B: &str = r#\"raw \"quoted\" \\n\"#; const C: &str = r\"short\"; let r#type = br#\"b\"#;\n",
        "#[cfg(test)]\nmod tests { const D: &str = \"of a test\"; }\n",
    );
    assert_eq!(strings(source), ["one line, {\"key\"}", "after characters", "raw \"quoted\" \\n", "short", "b"]);
}

#[test]
fn a_message_is_found_by_its_parts_in_their_order() {
    let string = "{path}: the conversation has {n} tokens, the limit is {max}";
    for message in ["...: the conversation has ... tokens, the limit is ...", "the limit is ..."] {
        assert!(holds(string, &fixed_parts(message)), "{message}");
    }
    for message in ["the limit is ... the conversation has", "the conversation has ... words"] {
        assert!(!holds(string, &fixed_parts(message)), "{message}");
    }
    let page = "| message | why |\n|---|---|\n| `one ... two` | why |\n| ``with `code` in it`` | why |\nprose with `code`\n";
    assert_eq!(quoted_messages(page), ["one ... two", "with `code` in it"]);
}
