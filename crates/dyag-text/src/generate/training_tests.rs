//! Properties that every training set must have, on the ten applications by both chunk routes and on catalogues of chance.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::chunk::read_chunks;
use crate::generate::{Taught, catalogue};

fn fixture(name: &str) -> Vec<Chunk> {
    read_chunks(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/apps10").join(name)).expect("chunks")
}

fn options(method: Method, count: usize, split: Option<Split>, seed: u64) -> TrainingOptions {
    TrainingOptions { method, count, split, seed, max_answer_chars: 1200 }
}

fn rules() -> Rules {
    Rules::shipped("fr").expect("rules")
}

/// Letters and figures of a text in lower case, its words with one space between them: what answers are looked for by.
fn words(text: &str) -> String {
    let bare: String = text.replace(['*', '`'], "").chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    bare.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The properties, looked for in other ways than the generator's own.
fn check(set: &TrainingSet, chunks: &[Chunk], split: Option<Split>) {
    assert_eq!(set.problems(chunks, &rules(), split), Vec::<String>::new());
    let contents: BTreeMap<&str, String> = chunks.iter().map(|chunk| (chunk.id.as_str(), words(&chunk.content))).collect();
    let mut questions = BTreeMap::new();
    for item in &set.items {
        assert!(questions.insert(words(&item.question), item.part).is_none(), "twice: {}", item.question);
        assert!(!item.answer.contains("***") && !item.answer.contains("TODO"), "{}", item.answer);
        assert_eq!(item.kind == Kind::Unanswerable, item.chunk_ids.is_empty());
        for value in &item.values {
            assert!(
                item.chunk_ids.iter().any(|id| contents[id.as_str()].contains(&words(value))),
                "{} is not in {:?}",
                value,
                item.chunk_ids
            );
        }
        if item.kind == Kind::Fact {
            assert_eq!(item.answer, item.values.join(", "));
        }
        assert!(item.question.contains(&item.name) || item.category == "is_a" || item.category == "definition", "{}", item.question);
    }
    let fields = |part: Part| -> BTreeSet<(&str, &str)> {
        set.part(part).flat_map(|item| item.fields.iter().map(|field| (item.document.as_str(), field.as_str()))).collect()
    };
    let train = fields(Part::Train);
    for tested in fields(Part::Test).into_iter().chain(fields(Part::Val)) {
        match split {
            Some(Split::Wording) => assert!(train.contains(&tested), "{tested:?} is not taught"),
            Some(Split::Facts) => assert!(!train.contains(&tested), "{tested:?} is taught"),
            Some(Split::Both) | None => {}
        }
    }
    if split == Some(Split::Both) {
        for part in [Part::Test, Part::Val] {
            let taught = |item: &&TrainingItem| item.fields.iter().filter(|field| train.contains(&(&*item.document, field))).count();
            let asking: Vec<&TrainingItem> = set.part(part).filter(|item| item.kind != Kind::Unanswerable).collect();
            let (all, none): (Vec<_>, Vec<_>) = asking.iter().partition(|item| taught(item) > 0);
            assert!(all.iter().all(|item| taught(item) == item.fields.len()), "a question is partly taught");
            let documents: BTreeSet<&str> = asking.iter().map(|item| item.document.as_str()).collect();
            assert!(documents.len() + 2 >= asking.len().min(10), "{documents:?} of {} questions", asking.len());
            assert!(all.len().abs_diff(none.len()) <= 2 + asking.len() / 4, "{} taught, {} not", all.len(), none.len());
        }
    }
}

#[test]
fn a_hundred_examples_from_both_routes() {
    for route in ["chunks_json_route.jsonl", "chunks_markdown_route.jsonl"] {
        let chunks = fixture(route);
        for method in [Method::RuleBased, Method::Augmented] {
            for split in [None, Some(Split::Wording), Some(Split::Facts), Some(Split::Both)] {
                let set = TrainingSet::build(&chunks, &rules(), &options(method, 100, split, 42));
                check(&set, &chunks, split);
                let size = |part| set.part(part).count();
                let expected = if split.is_some() { (80, 10, 10) } else { (100, 0, 0) };
                assert_eq!((size(Part::Train), size(Part::Val), size(Part::Test)), expected, "{route} {method:?} {split:?}");
                assert_eq!((set.report.documents.total, set.report.documents.taught), (10, 10));
                assert!(set.report.shortfall.is_empty());
                if method == Method::Augmented {
                    assert!(set.report.kinds.len() == 3, "{:?}", set.report.kinds);
                }
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_set_and_another_seed_another() {
    let chunks = fixture("chunks_json_route.jsonl");
    let build = |seed| TrainingSet::build(&chunks, &rules(), &options(Method::Augmented, 100, Some(Split::Wording), seed)).items;
    assert_eq!(build(1), build(1));
    assert_ne!(build(1), build(2));
}

#[test]
fn a_shortfall_is_said_and_keeps_the_proportions() {
    let chunks = fixture("chunks_json_route.jsonl");
    let set = TrainingSet::build(&chunks, &rules(), &options(Method::RuleBased, 5000, Some(Split::Wording), 42));
    check(&set, &chunks, Some(Split::Wording));
    assert!(set.items.len() < 5000 && set.items.len() > 100, "{}", set.items.len());
    assert!(set.report.shortfall[0].contains("45 facts in 10 documents"), "{:?}", set.report.shortfall);
    let tested = set.part(Part::Test).count() as f64 / set.items.len() as f64;
    assert!((0.08..=0.12).contains(&tested), "{tested}");
}

#[test]
fn a_split_without_a_test_is_told_of() {
    let chunks = fixture("chunks_json_route.jsonl");
    let report = TrainingSet::build(&chunks, &rules(), &options(Method::RuleBased, 2, Some(Split::Wording), 42)).report;
    assert!(report.shortfall.iter().any(|sentence| sentence.contains("none is left to test with")), "{report:?}");
}

#[test]
fn the_report_says_how_many_wordings_teach_a_fact_and_what_count_gives_several() {
    let chunks = fixture("chunks_json_route.jsonl");
    let taught = |count| TrainingSet::build(&chunks, &rules(), &options(Method::Augmented, count, None, 42)).report;
    let few = taught(60);
    let Taught { facts, wordings, in_one_wording, advice } = few.taught;
    assert!(facts <= few.facts && wordings >= facts && 2 * in_one_wording > facts, "{few:?}");
    let advised = advice.expect("an advice");
    assert!(few.lines().iter().any(|line| line.contains(&format!("--count {} ", advised.count))), "{:?}", few.lines());
    // Who follows it has what it says, and no further advice.
    let more = taught(advised.count);
    assert!((more.taught.mean_wordings() - advised.wordings).abs() < 0.6 && more.taught.advice.is_none(), "{more:?}");
    assert!(taught(100_000).taught.advice.is_none());
}

#[test]
fn free_text_gives_definitions_tables_sections_and_labelled_lines() {
    let content = "# Guide\n\n## Sauvegarde des postes\n\nLes postes sont sauvegardés chaque nuit sur deux sites distants du réseau interne.\n\n- Fréquence: quotidienne\n\n\
                   Le coffre est un dossier chiffré du poste. La clé mère désigne la clé qui ouvre toutes les autres. C'est un secret.\n\n\
                   | Poste | Salle | Étage |\n|---|---|---|\n| P1 | S12 | 3 |\n| P2 | ***TEMPORAIRE*** | 4 |\n";
    let metadata = serde_json::json!({ "name": "Guide du poste" }).as_object().cloned().unwrap_or_default();
    let chunk = Chunk {
        id: "c".into(),
        source_id: "guide.md".into(),
        title: "Guide".into(),
        content: content.into(),
        metadata,
        chunk_type: "section".into(),
    };
    let set = TrainingSet::build(std::slice::from_ref(&chunk), &rules(), &options(Method::RuleBased, 1000, None, 42));
    check(&set, std::slice::from_ref(&chunk), None);
    let answers: BTreeSet<(&str, &str)> = set.items.iter().map(|item| (item.fields[0].as_str(), item.answer.as_str())).collect();
    let expected = [
        ("cell:p1:etage", "3"),
        ("cell:p1:salle", "S12"),
        ("cell:p2:etage", "4"),
        ("definition:la cle mere", "La clé mère désigne la clé qui ouvre toutes les autres."),
        ("definition:le coffre", "Le coffre est un dossier chiffré du poste."),
        ("label:frequence", "quotidienne"),
        ("section:sauvegarde des postes", "Les postes sont sauvegardés chaque nuit sur deux sites distants du réseau interne."),
    ];
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn chunks_that_disagree_teach_nothing() {
    let chunk = |id: &str, content: &str| Chunk {
        id: id.into(),
        source_id: "7".into(),
        title: "Alpha".into(),
        content: content.into(),
        metadata: Map::new(),
        chunk_type: String::new(),
    };
    let chunks = [chunk("a", "- Statut: En production\n- ID: 7"), chunk("b", "- Statut: Retirée")];
    let set = TrainingSet::build(&chunks, &rules(), &options(Method::RuleBased, 100, None, 42));
    check(&set, &chunks, None);
    assert!(set.items.iter().all(|item| item.category == "app_id") && !set.items.is_empty());
    assert!(set.report.dropped.totals().any(|(reason, n)| reason == crate::generate::DropReason::Conflicting && n == 1));
}

fn passage(id: &str, content: &str, path: &[&str]) -> Chunk {
    let metadata = serde_json::json!({ "path": path }).as_object().cloned().unwrap_or_default();
    Chunk {
        id: id.into(),
        source_id: "locaux.md".into(),
        title: "Locaux du siège".into(),
        content: content.into(),
        metadata,
        chunk_type: "section".into(),
    }
}

fn facts_of(chunks: &[Chunk]) -> BTreeMap<String, (String, Vec<String>)> {
    let mut drops = Drops::default();
    let documents = documents(chunks, &rules());
    let facts = extract(0, &documents[0], &rules(), 400, &mut drops);
    facts.into_iter().map(|fact| (fact.field.clone(), (fact.answer(), fact.questions))).collect()
}

#[test]
fn a_label_below_several_headings_is_asked_of_each() {
    let first = "# Locaux du siège\n- Effectif : 80\n\n## Salle Ariane\n- Capacité : 12 personnes\n- Prise : murale\n- Prise : au sol\n\n## Salle Vega\n- Capacité : 30 personnes";
    // The section goes on in a chunk of its own, without its heading.
    let chunks = [
        passage("a", first, &["Locaux du siège"]),
        passage("b", "- Effectif : 30", &["Locaux du siège", "Salle Vega"]),
        passage(
            "c",
            "## Plans\n- Rez-de-chaussée:\n  - Sortie : nord\n- Étage:\n  - Sortie : sud\n- Échelle : 1/100",
            &["Locaux du siège", "Plans"],
        ),
        passage(
            "d",
            "## Salle Ariane\n- Prise : plafond\n- Échelle : 1/50\n- Capacité : à compléter",
            &["Locaux du siège", "Salle Ariane"],
        ),
    ];
    let facts = facts_of(&chunks);
    let answers: Vec<(&str, &str)> = facts.iter().map(|(field, (answer, _))| (field.as_str(), answer.as_str())).collect();
    let expected = [
        ("label:capacite:salle ariane", "12 personnes"),
        ("label:capacite:salle vega", "30 personnes"),
        ("label:echelle:plans", "1/100"),
        ("label:echelle:salle ariane", "1/50"),
        ("label:effectif", "80"),
        ("label:effectif:salle vega", "30"),
        ("label:sortie:etage", "sud"),
        ("label:sortie:rez de chaussee", "nord"),
    ];
    assert_eq!(answers, expected);
    assert!(
        facts["label:capacite:salle vega"].1.contains(&"Pour Salle Vega (Locaux du siège), que vaut « Capacité » ?".to_owned()),
        "{facts:?}"
    );
    assert!(facts["label:effectif"].1.contains(&"Pour Locaux du siège, que vaut « Effectif » ?".to_owned()));
}

#[test]
fn what_is_no_application_is_not_called_one() {
    let office = facts_of(&[passage("a", "- Statut : ouvert", &[])]);
    assert!(office["status"].1.iter().all(|question| !question.to_lowercase().contains("application")), "{office:?}");
    assert!(office["status"].1.contains(&"Dans quel état se trouve Locaux du siège ?".to_owned()));
    let law = facts_of(&[passage("a", "En application de l'article 3.\n\n- Statut : ouvert", &[])]);
    assert_eq!(law["status"].1, office["status"].1);
    let said = facts_of(&[passage("a", "Locaux du siège est une application de réservation.\n\n- Statut : ouvert", &[])]);
    assert!(said["status"].1.contains(&"L'application Locaux du siège est-elle en production ?".to_owned()), "{said:?}");
}

#[test]
fn what_may_be_answered_is_not_called_unknown() {
    let unknown_in = |chunk: Chunk| -> BTreeSet<String> {
        let chunks = [chunk];
        let units = unanswerable_units(&documents(&chunks, &rules()), &[], &rules(), 1);
        units.into_iter().flat_map(|unit| unit.fields).collect()
    };
    let unknown = |content: &str| unknown_in(passage("a", content, &[]));
    let fields = ["websites", "contacts", "description"].map(str::to_owned);
    let bare = unknown("- Effectif : 80\n- Code : B12\n- Étages : 4\n- Année : 1998");
    let said = unknown(
        "Le siège accueille les équipes et leurs visiteurs, sur quatre étages.\n\n- Effectif : 80\n- Réserver : https://salles.example\n- Accueil : accueil@siege.example\n- Code : B12",
    );
    assert!(fields.iter().all(|field| bare.contains(field)), "{bare:?}");
    assert!(fields.iter().all(|field| !said.contains(field)), "{said:?}");
    let noted = unknown("- Contact : à compléter, ou accueil@siege.example\n\nLe siège accueille les équipes.\nTODO : dire quand");
    assert!(!noted.contains("contacts") && !noted.contains("description"), "{noted:?}");
    let mut file = passage("a", "- Effectif : 80", &[]);
    file.metadata.insert("statut".to_owned(), "ouvert".into());
    file.metadata.insert("lien".to_owned(), "https://salles.example".into());
    let known = unknown_in(file);
    assert!(!known.contains("status") && !known.contains("websites") && known.contains("contacts"), "{known:?}");
}

#[test]
fn notes_to_oneself_are_not_taught() {
    let facts = facts_of(&[passage(
        "a",
        "- Capacité : TODO demander\n- TODO : relire\n- Étage : 3\n\n## TODO\n\nIl reste à décrire les accès et les badges de chacun.",
        &[],
    )]);
    assert_eq!(facts.keys().collect::<Vec<_>>(), ["label:etage"]);
    let facts =
        facts_of(&[passage("a", "## Description\n\nLe siège accueille les équipes et leurs visiteurs.\nTODO : ajouter le plan.", &[])]);
    assert_eq!(facts["description"].0, "Le siège accueille les équipes et leurs visiteurs.");
}

#[test]
fn the_questions_are_the_originals() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/apps10");
    let text = std::fs::read_to_string(folder.join("catalogue.md")).expect("the catalogue");
    let chunks = catalogue(&text, &rules());
    let documents = documents(&chunks, &rules());
    let made = crate::generate::question_set(&documents, &rules(), &crate::generate::QuestionOptions { per_field: 3, seed: 42 });
    let row = |row: &Map<String, Value>| -> String {
        let keys = ["question", "expected_answer", "category", "difficulty", "app_name", "app_id", "source_section", "generated_by"];
        keys.iter().map(|key| format!("{key}={}\n", row.get(*key).unwrap_or(&Value::Null))).collect()
    };
    let originals = std::fs::read_to_string(folder.join("questions.jsonl")).expect("the questions");
    let originals: BTreeSet<String> = originals.lines().map(|line| row(&serde_json::from_str(line).expect("a row"))).collect();
    let rows: BTreeSet<String> = made.iter().map(|question| row(&question.to_row(crate::generate::QuestionFormat::Rag, ""))).collect();
    assert_eq!((made.len(), originals.len()), (205, 205));
    let differ: Vec<&String> = rows.symmetric_difference(&originals).collect();
    assert!(differ.is_empty(), "{differ:#?}");
    assert_eq!(made.iter().filter(|question| question.placeholder).count(), 9);
    assert!(made.iter().all(|question| question.placeholder == (question.expected_answer == "***TEMPORAIRE***")));
}

#[test]
fn questions_are_asked_of_labelled_lines_and_tables_that_no_field_knows() {
    let content =
        "## Salle Ouessant\n\n- Capacité : 12 places\n- Clé : au secrétariat\n\n| Équipement | Nombre |\n|---|---|\n| Écran | 2 |\n";
    let chunks = [passage("a", content, &["Salles", "Salle Ouessant"])];
    let documents = documents(&chunks, &rules());
    let options = crate::generate::QuestionOptions { per_field: 2, seed: 1 };
    let made = crate::generate::question_set(&documents, &rules(), &options);
    let answers: BTreeSet<&str> = made.iter().map(|question| question.expected_answer.as_str()).collect();
    assert_eq!(answers, BTreeSet::from(["12 places", "2", "au secrétariat"]), "{made:#?}");
    assert!(made.iter().all(|question| made.iter().filter(|other| other.expected_answer == question.expected_answer).count() <= 2));
    assert_eq!(made.iter().map(|question| &question.id).collect::<BTreeSet<_>>().len(), made.len());
}

/// A word that looks like a name.
fn name() -> impl Strategy<Value = String> {
    "[A-ZÉ][a-zéè]{2,8}( [A-Z0-9][a-z]{0,6}){0,2}"
}

/// A catalogue of chance: applications with some of the fields, some placeholders, texts of several lengths, in one of two shapes.
fn catalogues() -> impl Strategy<Value = Vec<Chunk>> {
    let application = (
        name(),
        proptest::option::of("[A-Z][a-z]{3,9}( [a-z]{2,8}){0,6}"),
        0..5_usize,
        proptest::option::of("[A-Z][a-z]{3,12}"),
        proptest::collection::vec("[A-Z]{2,5}/[A-Z]{2}", 0..4),
        any::<bool>(),
    );
    proptest::collection::vec(application, 1..12).prop_map(|applications| {
        let mut chunks = Vec::new();
        for (index, (name, description, status, domain, actors, labelled)) in applications.into_iter().enumerate() {
            let status = ["En production", "En construction", "***TEMPORAIRE***", "TODO", "Retirée"][status];
            let mut content = format!("# {name}\n**Statut**: {status}\n**ID**: {index}\n");
            if labelled {
                content = format!("- Nom: {name}\n- Statut SI: {status}\n- Identifiant: {index}\n");
            }
            content.extend(domain.map(|domain| format!("## Domaines métier\n- Domaine: {domain}\n")));
            content.extend(
                (!actors.is_empty())
                    .then(|| format!("## Acteurs\n{}", actors.iter().map(|actor| format!("- {actor}\n")).collect::<String>())),
            );
            let metadata = serde_json::json!({ "app_name": name }).as_object().cloned().unwrap_or_default();
            let chunk = |suffix: &str, content: String, kind: &str| Chunk {
                id: format!("{index}{suffix}"),
                source_id: index.to_string(),
                title: name.clone(),
                content,
                metadata: metadata.clone(),
                chunk_type: kind.to_owned(),
            };
            chunks.push(chunk("o", content, "overview"));
            chunks.extend(description.map(|text| chunk("d", format!("{text}."), "description")));
        }
        chunks
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_catalogue_gives_a_sound_set(chunks in catalogues(), seed in any::<u64>(), count in 1..160_usize, augmented: bool, split in 0..3_usize) {
        let split = [None, Some(Split::Wording), Some(Split::Facts)][split];
        let method = if augmented { Method::Augmented } else { Method::RuleBased };
        let set = TrainingSet::build(&chunks, &rules(), &options(method, count, split, seed));
        prop_assert!(set.items.len() <= count);
        check(&set, &chunks, split);
        let covered = documents_of(set.items.iter()).len();
        let total = set.report.documents.total;
        prop_assert!(split.is_some() || covered == total.min(set.items.len()), "{covered} of {total} documents in {} items", set.items.len());
    }

    #[test]
    fn any_text_is_survived(content in "[ -~é\n#*|:\\-]{0,400}", title in "\\PC{0,20}") {
        let chunk = Chunk { id: "x".into(), source_id: "s".into(), title, content, metadata: Map::new(), chunk_type: String::new() };
        let chunks = [chunk];
        let set = TrainingSet::build(&chunks, &rules(), &options(Method::Augmented, 50, Some(Split::Wording), 1));
        prop_assert_eq!(set.problems(&chunks, &rules(), Some(Split::Wording)), Vec::<String>::new());
    }
}
