//! Examples with passages: shares, the bearing passage, what is withheld, and that tests are still taught.

use std::path::Path;

use super::*;
use crate::chunk::read_chunks;
use crate::generate::{Method, Rules, Split, TrainingOptions};

const OPTIONS: ContextOptions = ContextOptions {
    n_passages: 5,
    context_free: 0.2,
    unanswerable: 0.1,
    max_passage_chars: Some(400),
    language: Language::French,
    seed: 42,
};

fn chunks() -> Vec<Chunk> {
    read_chunks(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/apps10/chunks_json_route.jsonl")).expect("chunks")
}

fn set(chunks: &[Chunk], method: Method, split: Option<Split>, options: &ContextOptions) -> TrainingSet {
    let rules = Rules::shipped("fr").expect("rules");
    let mut set =
        TrainingSet::build(chunks, &rules, &TrainingOptions { method, count: 200, split, seed: options.seed, max_answer_chars: 1200 });
    set.add_context(chunks, options);
    assert_eq!(set.problems(chunks, &rules, split), Vec::<String>::new());
    set
}

fn count(set: &TrainingSet, part: Part, kinds: &[ContextKind]) -> usize {
    set.part(part).filter(|item| item.context.as_ref().is_some_and(|context| kinds.contains(&context.kind))).count()
}

#[test]
fn shares_hold_in_every_part_and_nothing_is_wrong() {
    use ContextKind::{None as Free, Unanswerable, Withheld};
    let chunks = chunks();
    for method in [Method::RuleBased, Method::Augmented] {
        for split in [None, Some(Split::Wording), Some(Split::Facts), Some(Split::Both)] {
            let set = set(&chunks, method, split, &OPTIONS);
            for part in [Part::Train, Part::Val, Part::Test] {
                let n = set.part(part).count();
                assert_eq!(count(&set, part, &[Free]), share_of(n, 0.2), "{method:?} {split:?} {part:?}");
                let silent = count(&set, part, &[Withheld, Unanswerable]);
                assert!(silent >= share_of(n, 0.1), "{method:?} {split:?} {part:?}: {silent} of {n}");
            }
            let contexts: usize = set.report.contexts.values().sum();
            assert_eq!(contexts, set.items.len());
        }
    }
}

#[test]
fn prompts_hold_what_they_should() {
    let chunks = chunks();
    let set = set(&chunks, Method::Augmented, Some(Split::Wording), &OPTIONS);
    let mut near = 0;
    for item in &set.items {
        let context = item.context.as_ref().expect("a context");
        let row = item.to_row(None, false);
        let (user, assistant) = (row["messages"][0]["content"].as_str().unwrap(), row["messages"][1]["content"].as_str().unwrap());
        assert!(user.ends_with(item.question.trim()) && assistant == item.answer);
        assert_eq!(row["context"], context.kind.name());
        assert_eq!(row["passage_chunk_ids"].as_array().unwrap().len(), context.passages.len());
        match context.kind {
            ContextKind::None => assert!(user == item.question && !item.chunk_ids.is_empty()),
            ContextKind::Bearing => {
                assert_eq!(context.passages.len(), 5);
                assert!(item.values.iter().all(|value| is_supported(value, user)), "{user}");
                assert_eq!(row["source_chunk_ids"].as_array().unwrap().len(), item.chunk_ids.len());
                let same = |id: &String| chunks.iter().any(|chunk| chunk.id == *id && chunk.source_id == item.document);
                near += usize::from(context.passages.iter().any(|(id, _)| !item.chunk_ids.contains(id) && same(id)));
            }
            ContextKind::Withheld | ContextKind::Unanswerable => {
                assert!(item.chunk_ids.is_empty() && item.answer == abstention(Language::French));
                assert_eq!(context.passages.len(), 5);
            }
        }
    }
    // Where a document has other chunks, one of them is mostly among the passages.
    let bearing = set.report.contexts["bearing"];
    assert!(2 * near > bearing, "{near} of {bearing}");
    // The bearing passage stands in any place.
    let places: BTreeSet<usize> = set
        .items
        .iter()
        .filter_map(|item| item.context.as_ref()?.passages.iter().position(|(id, _)| item.chunk_ids.contains(id)))
        .collect();
    assert_eq!(places.len(), 5);
}

#[test]
fn the_seed_decides() {
    let chunks = chunks();
    let rows = |seed| -> Vec<String> {
        let set = set(&chunks, Method::RuleBased, None, &ContextOptions { seed, ..OPTIONS });
        set.items.iter().map(|item| serde_json::to_string(&item.to_row(Some("s"), false)).unwrap()).collect()
    };
    assert_eq!(rows(1), rows(1));
    assert_ne!(rows(1), rows(2));
}

#[test]
fn shares_of_none_and_all_and_few_chunks() {
    let chunks = chunks();
    let plain = set(&chunks, Method::RuleBased, None, &ContextOptions { context_free: 0.0, unanswerable: 0.0, ..OPTIONS });
    assert_eq!(plain.report.contexts.keys().copied().collect::<Vec<_>>(), ["bearing"]);
    let free = set(&chunks, Method::RuleBased, None, &ContextOptions { context_free: 1.0, unanswerable: 0.0, ..OPTIONS });
    assert_eq!(free.report.contexts.keys().copied().collect::<Vec<_>>(), ["none"]);
    let silent = set(&chunks, Method::RuleBased, None, &ContextOptions { context_free: 0.0, unanswerable: 1.0, ..OPTIONS });
    assert_eq!(silent.report.contexts.keys().copied().collect::<Vec<_>>(), ["withheld"]);
    let few = set(&chunks[..3], Method::RuleBased, None, &ContextOptions { context_free: 0.0, unanswerable: 0.0, ..OPTIONS });
    assert!(few.items.iter().all(|item| item.context.as_ref().unwrap().passages.len() == 3));
}

#[test]
fn problems_are_found() {
    let (chunks, rules) = (chunks(), Rules::shipped("fr").expect("rules"));
    let good = set(&chunks, Method::RuleBased, None, &OPTIONS);
    let broken = |kind: ContextKind, change: &dyn Fn(&mut TrainingItem)| {
        let mut set = good.clone();
        let item = set.items.iter_mut().find(|item| item.context.as_ref().unwrap().kind == kind).expect("an item of the kind");
        change(item);
        set.problems(&chunks, &rules, None).len()
    };
    assert_eq!(broken(ContextKind::Bearing, &|_| {}), 0);
    let without_source = |item: &mut TrainingItem| {
        let ids = item.chunk_ids.clone();
        item.context.as_mut().unwrap().passages.retain(|(id, _)| !ids.contains(id));
    };
    assert_eq!(broken(ContextKind::Bearing, &without_source), 1);
    let told = |item: &mut TrainingItem| {
        let context = item.context.as_mut().unwrap();
        let id = context.withheld.as_ref().unwrap().0[0].clone();
        context.passages.push((id, Passage::new("", "")));
    };
    assert_eq!(broken(ContextKind::Withheld, &told), 1);
    assert_eq!(broken(ContextKind::Withheld, &|item| item.answer = "Oui.".to_owned()), 1);
    // Another document that speaks of this one, and gives the value, tells too.
    let elsewhere = |item: &mut TrainingItem| {
        let (name, document) = (item.name.clone(), item.document.clone());
        let context = item.context.as_mut().unwrap();
        let value = context.withheld.as_ref().unwrap().1[0].clone();
        let shown: Vec<String> = context.passages.iter().map(|(id, _)| id.clone()).collect();
        let other = chunks.iter().find(|chunk| chunk.source_id != document && !shown.contains(&chunk.id)).expect("another chunk");
        context.passages.push((other.id.clone(), Passage::new("", format!("{name} : {value}"))));
    };
    assert_eq!(broken(ContextKind::Withheld, &elsewhere), 1);
    let twice = |item: &mut TrainingItem| {
        let context = item.context.as_mut().unwrap();
        context.passages.push(context.passages[0].clone());
    };
    assert!(broken(ContextKind::Bearing, &twice) >= 1);
}
