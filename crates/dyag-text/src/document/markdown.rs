//! Markdown: headings at any depth, and the blocks between them as they stand in the source.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::outline::{BlockKind, Outline};

/// The outline of a Markdown text. Everything that stands in it is kept, whether it renders or not.
pub(super) fn outline(text: &str) -> Outline {
    let options = Options::ENABLE_TABLES | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS | Options::ENABLE_HEADING_ATTRIBUTES;
    let mut outline = Outline::default();
    let mut depth = 0usize;
    let mut title = String::new();
    let mut end = 0usize;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        if depth == 0 && range.start > end {
            // What has no event of its own, such as the target of a link, is text all the same.
            outline.block(BlockKind::Paragraph, &text[end..range.start]);
        }
        match &event {
            Event::Start(tag) => {
                if depth == 0 {
                    title.clear();
                    start_block(&mut outline, tag, &text[range.clone()]);
                }
                depth += 1;
            }
            Event::End(tag) => {
                depth -= 1;
                if let (0, TagEnd::Heading(level)) = (depth, tag) {
                    outline.heading(*level as u8, &title);
                }
            }
            Event::Text(part) | Event::Code(part) | Event::InlineHtml(part) => title.push_str(part),
            Event::SoftBreak | Event::HardBreak => title.push(' '),
            _ => {}
        }
        if depth == 0 {
            end = end.max(range.end);
        }
    }
    outline.block(BlockKind::Paragraph, &text[end..]);
    outline
}

/// Adds a block of the outermost level; headings wait for their text.
fn start_block(outline: &mut Outline, tag: &Tag<'_>, source: &str) {
    match tag {
        Tag::Heading { .. } => {}
        Tag::CodeBlock(CodeBlockKind::Indented) => indented_block(outline, source),
        Tag::CodeBlock(CodeBlockKind::Fenced(_)) => outline.block(BlockKind::Code, source),
        Tag::Table(_) => outline.block(BlockKind::Table, source),
        Tag::List(_) => outline.block(BlockKind::List, source),
        Tag::MetadataBlock(_) => outline.block(BlockKind::Paragraph, source.trim().trim_start_matches("---").trim_end_matches("---")),
        Tag::HtmlBlock if source.trim_start().starts_with("<!--") && source.trim_end().ends_with("-->") => {}
        _ => outline.block(BlockKind::Paragraph, source),
    }
}

/// An indented block is code, unless it is one line that was meant as a heading: exports of catalogues indent `# Application d'identifiant: 12`.
fn indented_block(outline: &mut Outline, source: &str) {
    let line = source.trim();
    if line.starts_with('#') && !line.contains('\n') {
        return outline.block(BlockKind::Paragraph, line.trim_start_matches('#'));
    }
    let lines = source.lines().map(|line| line.strip_prefix("    ").or_else(|| line.strip_prefix('\t')).unwrap_or(line));
    let code = lines.collect::<Vec<_>>().join("\n");
    let longest_fence = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest_fence.max(2) + 1);
    outline.block(BlockKind::Code, &format!("{fence}\n{}\n{fence}", code.trim_end()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for section in outline(text).sections {
            lines.push(section.heading.map_or("-".to_owned(), |heading| heading.line()));
            lines.extend(section.blocks.iter().map(|block| format!("{:?}: {}", block.kind, block.text.replace('\n', "/"))));
        }
        lines
    }

    #[test]
    fn headings_and_blocks() {
        let text = "avant\n\n# Un *titre* `x`\ntexte\n\n- a\n  - b\n- c\n\n###### Fond\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```sh\n# pas un titre\n```\n\nSous-ligné\n---\nfin";
        let expected = [
            "-",
            "Paragraph: avant",
            "# Un titre x",
            "Paragraph: texte",
            "List: - a/  - b/- c",
            "###### Fond",
            "Table: | a | b |/|---|---|/| 1 | 2 |",
            "Code: ```sh/# pas un titre/```",
            "## Sous-ligné",
            "Paragraph: fin",
        ];
        assert_eq!(shape(text), expected);
    }

    #[test]
    fn an_indented_heading_line_is_text() {
        let text = "## Application: 6Tzen\n    # Application d'identifiant: 1238\n- Nom: 6Tzen\n";
        assert_eq!(shape(text), ["## Application: 6Tzen", "Paragraph: Application d'identifiant: 1238", "List: - Nom: 6Tzen"]);
        assert_eq!(shape("a\n\n    let x = 1;\n    y\n"), ["-", "Paragraph: a", "Code: ```/let x = 1;/y/```"]);
    }

    #[test]
    fn what_does_not_render_is_kept() {
        let text = "Voir [le site][1].\n\n[1]: https://example.invalid/page\n\n> cité\n\n<div>\nbrut\n</div>\n";
        let joined = shape(text).join("\n");
        for part in ["https://example.invalid/page", "> cité", "brut"] {
            assert!(joined.contains(part), "{joined}");
        }
    }
}
