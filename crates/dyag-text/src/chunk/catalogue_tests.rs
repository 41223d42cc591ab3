use super::*;
use crate::document::{Content, Document, Format};

fn found(text: &str) -> Vec<String> {
    let document = Document::parse(text.as_bytes(), Format::Markdown, "a.md", "a.md", None).expect("Markdown");
    let Content::Outline(mut outline) = document.content else { panic!("an outline") };
    let line = |entry: Entry| format!("{}={} [{}] {:?}", entry.id, entry.name, entry.state.unwrap_or_default(), entry.sections);
    entries(&mut outline).into_iter().map(line).collect()
}

#[test]
fn headings_with_an_id_below_them_are_applications() {
    let text =
        "# Parc\n\nIntroduction\n\n# Un\n\n**ID:** 1\n**Statut:** Actif\n\n## Suite\n\nx\n\n# Deux\n\n- Identifiant : 2\n\n# Annexe\n\nz\n";
    assert_eq!(found(text), ["1=Un [Actif] 1..3", "2=Deux [] 3..4"]);
}

#[test]
fn ids_in_headings_and_indented_lines() {
    let indented = "# Parc\n\n## Application: A\n    # Application d'identifiant: 7\n- Nom: A\n- Statut SI: Actif\n## Application: B\n    # Application d'identifiant: 8\n- Nom: Bé\n";
    assert_eq!(found(indented), ["7=A [Actif] 1..2", "8=Bé [] 2..3"]);
    let flush = indented.replace("    #", "#");
    assert_eq!(found(&flush), ["7=A [Actif] 1..2", "8=Bé [] 2..3"]);
    assert_eq!(found("# Parc\n## Identifiant: 12\n- Nom: A\n## Identifiant: 13\n- Nom: B\n"), ["12=A [] 1..2", "13=B [] 2..3"]);
}

#[test]
fn an_application_without_an_id_does_not_end_up_with_the_one_before() {
    let text = "# A\n\n**ID:** 1\n\n# Bé c\n\n**Statut:** Actif\n\n# C\n\n**ID:** 3\n";
    assert_eq!(found(text), ["1=A [] 0..1", "be-c=Bé c [Actif] 1..2", "3=C [] 2..3"]);
}

#[test]
fn ordinary_documents_are_no_catalogues() {
    assert!(found("# Guide\n\nVoir l'id: 12 de la page.\n\n## Suite\n\nx\n").is_empty());
    assert!(found("# Guide\n\nID: 12\n\n## Suite\n\nx\n").is_empty(), "one lone id");
    assert_eq!(found("# Fiche\n\n| ID | 12 |\n|---|---|\n| Statut | Actif |\n").len(), 1, "a lone card with an id and a state");
}

#[test]
fn lines_as_fields() {
    let pair = |key: &str, value: &str| Some((key.to_owned(), value.to_owned()));
    assert_eq!(field("**Nom complet:** X : y"), pair("Nom complet", "X : y"));
    assert_eq!(field("- **Statut** : En production"), pair("Statut", "En production"));
    assert_eq!(field("https://example.invalid/"), None);
    assert_eq!(field("- Acteurs:"), None);
    assert_eq!(field("Une phrase qui est bien trop longue pour être une clé : valeur"), None);
}
