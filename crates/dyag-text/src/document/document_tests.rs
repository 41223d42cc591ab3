use std::io::Write as _;

use proptest::prelude::*;
use zip::write::SimpleFileOptions;

use super::*;

fn parse(bytes: &[u8], name: &str) -> Result<Document, DocumentError> {
    Document::parse(bytes, Format::of(Path::new(name))?, name, name, None)
}

fn shape(bytes: &[u8], name: &str) -> Vec<String> {
    let document = parse(bytes, name).unwrap_or_else(|error| panic!("{error}"));
    let Content::Outline(outline) = document.content else { panic!("an outline") };
    let mut lines = Vec::new();
    for section in outline.sections {
        lines.extend(section.heading.map(|heading| heading.line()));
        let page = |block: &Block| block.page.map_or(String::new(), |page| format!(" p{page}"));
        lines.extend(section.blocks.iter().map(|block| format!("{:?}{}: {}", block.kind, page(block), block.text.replace('\n', "/"))));
    }
    lines
}

fn message(bytes: &[u8], name: &str) -> String {
    parse(bytes, name).expect_err("refused").to_string()
}

/// A Word document with this body and these styles.
fn docx(body: &str, styles: &str) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let wrapped =
        |root: &str, inner: &str| format!("<?xml version=\"1.0\"?><w:{root} xmlns:w=\"urn:w\" xmlns:mc=\"urn:mc\">{inner}</w:{root}>");
    for (name, text) in
        [("word/document.xml", wrapped("document", &format!("<w:body>{body}</w:body>"))), ("word/styles.xml", wrapped("styles", styles))]
    {
        archive.start_file(name, SimpleFileOptions::default()).expect("a part");
        archive.write_all(text.as_bytes()).expect("written");
    }
    archive.finish().expect("an archive").into_inner()
}

fn paragraph(properties: &str, text: &str) -> String {
    format!("<w:p><w:pPr>{properties}</w:pPr><w:r><w:t xml:space=\"preserve\">{text}</w:t></w:r></w:p>")
}

/// A PDF file whose pages have these contents and one font, `F`.
fn pdf(pages: &[&str]) -> Vec<u8> {
    let kids: Vec<String> = (0..pages.len()).map(|page| format!("{} 0 R", 4 + 2 * page)).collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!("<< /Type /Pages /Kids [{}] /Count {} >>", kids.join(" "), pages.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
    ];
    for (page, content) in pages.iter().enumerate() {
        let contents = 5 + 2 * page;
        objects.push(format!("<< /Type /Page /Parent 2 0 R /Resources << /Font << /F 3 0 R >> >> /Contents {contents} 0 R >>"));
        objects.push(format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()));
    }
    let mut file = b"%PDF-1.4\n".to_vec();
    let mut places = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        places.push(file.len());
        file.extend(format!("{} 0 obj\n{object}\nendobj\n", index + 1).bytes());
    }
    let table = file.len();
    file.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
    places.iter().for_each(|place| file.extend(format!("{place:010} 00000 n \n").bytes()));
    file.extend(format!("trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n", objects.len() + 1).bytes());
    file
}

#[test]
fn a_pdf_file() {
    let first = "BT /F 10 Tf 50 700 Td (Une ligne) Tj 0 -12 Td (et l\\351t\\351) Tj 0 -30 Td (Para) Tj [(gra) -20 (phe) -400 (deux)] TJ ET";
    let second = "q 0.5 0 0 0.5 0 0 cm BT /F 20 Tf 1 0 0 1 10 900 Tm (Page deux) Tj ET Q";
    let expected = ["Paragraph p1: Une ligne/et lété", "Paragraph p1: Paragraphe deux", "Paragraph p2: Page deux"];
    assert_eq!(shape(&pdf(&[first, second]), "a.pdf"), expected);
}

#[test]
fn pdf_files_without_text() {
    let text = message(&pdf(&["0 0 100 100 re f"]), "scan.pdf");
    assert!(text.contains("scan.pdf: no text") && text.contains("OCR"), "{text}");
    assert!(message(b"%PDF-1.4 rien", "a.pdf").contains("not a readable PDF file"));
    assert!(message(b"bonjour", "a.pdf").contains("%PDF-"));
    let whole = pdf(&["BT /F 10 Tf (a) Tj ET"]);
    for length in (0..whole.len()).step_by(7) {
        // Damaged, repaired or without text: anything but a panic.
        let _ = parse(&whole[..length], "a.pdf");
    }
}

#[test]
fn forms_that_show_themselves_end() {
    let content = format!("BT /F 10 Tf (a) Tj ET {}", "/X Do ".repeat(50));
    let page = String::from_utf8(pdf(&[&content])).expect("UTF-8");
    // The page's content is a form of the page. Objects move, so the table of their places goes.
    let page = page.split("xref\n").next().expect("objects").to_owned() + "trailer\n<< /Size 6 /Root 1 0 R >>\n%%EOF\n";
    let file = page
        .replace("/Font << /F 3 0 R >>", "/XObject << /X 5 0 R >> /Font << /F 3 0 R >>")
        .replace("<< /Length", "<< /Subtype /Form /Length");
    let shown = shape(file.as_bytes(), "a.pdf").concat();
    assert!(shown.len() < 10_000 && shown.contains('a'), "{}", shown.len());
}

#[test]
fn a_word_document() {
    let styles = "<w:style w:styleId=\"T1\"><w:name w:val=\"heading 1\"/></w:style>\
        <w:style w:styleId=\"Mien\"><w:name w:val=\"Mon titre\"/><w:basedOn w:val=\"Deux\"/></w:style>\
        <w:style w:styleId=\"Deux\"><w:name w:val=\"Autre\"/><w:pPr><w:outlineLvl w:val=\"1\"/></w:pPr></w:style>";
    let item = |depth: usize, text: &str| paragraph(&format!("<w:numPr><w:ilvl w:val=\"{depth}\"/><w:numId w:val=\"3\"/></w:numPr>"), text);
    let cell = |text: &str| format!("<w:tc>{}</w:tc>", paragraph("", text));
    let row = |a: &str, b: &str| format!("<w:tr>{}{}</w:tr>", cell(a), cell(b));
    let body = [
        paragraph("<w:pStyle w:val=\"T1\"/>", "Un &amp; deux &#233;"),
        paragraph("", "Texte <w:del>x</w:del>".split('<').next().expect("a part")),
        item(0, "a"),
        item(1, "b"),
        paragraph("<w:pStyle w:val=\"Mien\"/>", "Dessous"),
        format!("<w:tbl>{}{}</w:tbl>", row("an", "n"), row("2020", "x | y")),
        "<mc:AlternateContent><mc:Choice><w:p><w:r><w:t>boîte</w:t></w:r></w:p></mc:Choice><mc:Fallback><w:p><w:r><w:t>boîte</w:t></w:r></w:p></mc:Fallback></mc:AlternateContent>".to_owned(),
    ]
    .concat();
    let expected = [
        "# Un & deux é",
        "Paragraph: Texte",
        "List: - a/  - b",
        "## Dessous",
        "Table: | an | n |/| --- | --- |/| 2020 | x \\| y |",
        "Paragraph: boîte",
    ];
    assert_eq!(shape(&docx(&body, styles), "a.docx"), expected);
}

#[test]
fn damaged_word_documents() {
    let whole = docx(&paragraph("", "texte"), "");
    assert!(message(&whole[..whole.len() / 2], "a.docx").contains("a.docx: not a readable DOCX file"));
    assert!(message(&docx("<w:p><w:t>a</w:u></w:p>", ""), "a.docx").contains("not a readable DOCX file"));
    assert!(message(&docx("", ""), "a.docx").contains("no text"));
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("autre.xml", SimpleFileOptions::default()).expect("a part");
    assert!(message(&archive.finish().expect("an archive").into_inner(), "a.docx").contains("no word/document.xml"));
}

#[test]
fn an_archive_that_unpacks_to_too_much_is_refused() {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("word/document.xml", SimpleFileOptions::default()).expect("a part");
    let zeros = vec![b' '; 1 << 20];
    (0..65).for_each(|_| archive.write_all(&zeros).expect("written"));
    let bytes = archive.finish().expect("an archive").into_inner();
    assert!(bytes.len() < 1 << 20);
    assert!(message(&bytes, "a.docx").contains("too large"));
}

#[test]
fn files_without_content() {
    assert!(message(b"", "a.md").contains("a.md: the file is empty"));
    assert!(message(b" \n\t", "a.csv").contains("white space only"));
    assert!(message(b"# Titre\n", "a.md").contains("no text"));
    assert!(message(b"<script>x</script>", "a.html").contains("no text"));
    assert!(message(b"a;b\n", "a.csv").contains("at least one row"));
    let text = message(b"x", "a.xls");
    assert!(text.contains("a.xls") && text.contains(".docx") && text.contains("found .xls"), "{text}");
    assert!(message(b"x", "sans").contains("found no ending"));
}

#[test]
fn titles() {
    let title = |bytes: &[u8], name: &str| parse(bytes, name).expect("a document").title;
    assert_eq!(title(b"# Guide\n\na\n\n## B\n\nb", "x/a.md"), "Guide");
    assert_eq!(title(b"# Guide\n\na\n\n# B\n\nb", "x/a.md"), "a");
    assert_eq!(title(b"<title>Page</title>a", "a.html"), "Page");
    assert_eq!(title(b"texte", "x/notes.v2.txt"), "notes.v2");
}

#[test]
fn folders_are_walked_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(&path, "texte").expect("a file");
    };
    for name in ["b/z.md", "b/a.md", "a.md", ".caché.md", ".git/x.md", "c.out"] {
        write(name);
    }
    let inputs = [folder.path().to_owned(), folder.path().join("b/a.md"), folder.path().join("absent")];
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path(), folder.path().join("b/tour")).expect("a link");
    let walk = Walk::new(&inputs, Some(&folder.path().join("c.out")));
    let found: Vec<&str> = walk.files.iter().map(|found| found.source_id.as_str()).collect();
    assert_eq!(found, ["a.md", "b/a.md", "b/z.md"]);
    assert!(matches!(walk.skipped.as_slice(), [Skipped { named: true, .. }]), "{:?}", walk.skipped);
    assert_eq!(Walk::new(&inputs[1..2], None).files[0].source_id, "a.md");
}

proptest! {
    #[test]
    fn readers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), name in "a\\.(md|txt|html|csv|json|pdf|docx)") {
        let _ = parse(&bytes, &name);
    }

    #[test]
    fn damaged_files_never_panic(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut file = pdf(&["BT /F 10 Tf (a) Tj [(b) 4] TJ T* ET"]);
        let at = place.index(file.len());
        file[at] = byte;
        let _ = parse(&file, "a.pdf");
        let mut file = docx(&paragraph("<w:pStyle w:val=\"x\"/>", "texte"), "<w:style/>");
        let at = place.index(file.len());
        file[at] = byte;
        let _ = parse(&file, "a.docx");
    }

    #[test]
    fn any_text_in_any_text_format(text in "[a-z<>&;,|\"'#*`:/ \n\t\\[\\]{}é-]{0,200}", name in "a\\.(md|txt|html|csv|json)") {
        let _ = parse(text.as_bytes(), &name);
    }
}
