//! What is kept of a language model's replies, and what is not.

use super::*;
use crate::chunk::Chunk;
use crate::generate::documents;
use crate::language_model::Reply;

/// Answers from a list, one after another.
struct Scripted(std::cell::RefCell<Vec<Result<String, ModelFailure>>>);

impl LanguageModel for Scripted {
    fn name(&self) -> String {
        "scripted".to_owned()
    }

    fn answer(&self, request: &Request) -> Result<Reply, ModelFailure> {
        assert!(request.schema.is_some());
        self.0.borrow_mut().remove(0).map(|text| Reply { text, ..Reply::default() })
    }
}

fn chunks(n: usize) -> Vec<Chunk> {
    let one = |index: usize| Chunk {
        id: format!("c{index}"),
        source_id: format!("d{index}"),
        title: format!("Outil {index}"),
        content: format!("L'outil {index} traite 40{index} dossiers par an. Il est ouvert depuis 2011."),
        metadata: serde_json::Map::new(),
        chunk_type: String::new(),
    };
    (0..n).map(one).collect()
}

fn options(count: usize) -> ModelOptions {
    ModelOptions {
        count,
        answers: ModelAnswers::Written,
        facts_per_chunk: 2,
        max_tokens: 400,
        temperature: 0.0,
        seed: 1,
        max_answer_chars: 200,
    }
}

fn fact(questions: [&str; 3], answer: &str, quote: &str) -> Value {
    json!({ "question_1": questions[0], "question_2": questions[1], "question_3": questions[2], "answer": answer, "quote": quote })
}

#[test]
fn what_the_passage_says_is_kept_and_the_rest_counted() {
    let rules = Rules::shipped("fr").expect("rules");
    let chunks = chunks(1);
    let reply = json!({ "facts": [
        fact(["Combien de dossiers Outil 0 traite-t-il ?", "Combien de dossiers traite Outil 0 ?", "Quelle est la charge annuelle ?"], "400 dossiers par an", "L'outil 0 traite 400 dossiers par an."),
        fact(["Depuis quand Outil 0 est-il ouvert ?", "", ""], "depuis 2012", "Il est ouvert depuis 2011."),
        fact(["Outil 0 ?", "", ""], "***TEMPORAIRE***", "x"),
        fact(["", "", ""], "400", "400"),
    ]});
    let model = Scripted(vec![Ok(format!("Voici :\n{reply}\n"))].into());
    let found = facts_by_model(&documents(&chunks, &rules), &model, &rules, &options(10), &mut |_| true);
    assert_eq!(found.facts.len(), 1);
    let kept = &found.facts[0];
    assert_eq!(kept.answer(), "400 dossiers par an");
    // The second wording has the words of the first; the third does not name the tool.
    assert_eq!(kept.questions, ["Combien de dossiers Outil 0 traite-t-il ?", "Quelle est la charge annuelle ? (à propos de Outil 0)"]);
    let totals: Vec<(DropReason, usize)> = found.drops.totals().collect();
    assert_eq!(totals, [(DropReason::Placeholder, 1), (DropReason::Unsupported, 1), (DropReason::Malformed, 1)]);
    assert!(found.failure.is_none());
}

#[test]
fn an_answer_in_other_words_needs_a_quote_with_its_words_and_figures() {
    let content = "Le service est ouvert de 9 h à 17 h.";
    assert_eq!(support("ouvert de 9 h à 17 h.", "", content).as_deref(), Some("ouvert de 9 h à 17 h"));
    assert_eq!(support("de 9 h à 17 h, le service est ouvert", content, content).as_deref(), Some(content));
    assert_eq!(support("de 8 h à 17 h, le service est ouvert", content, content), None);
    assert_eq!(support("le service est toujours fermé", content, content), None);
    assert_eq!(support("de 9 h à 17 h, le service est ouvert", "Le service ouvre à 9 h.", content), None);
}

#[test]
fn questions_are_worded_for_values_of_the_passage() {
    let rules = Rules::shipped("fr").expect("rules");
    let content = "- Nom: Outil\n- Statut: En production\n- Domaine: ***TEMPORAIRE***\n\nIl traite chaque année plus de quatre cents dossiers. Court.";
    let chunks = [Chunk { content: content.to_owned(), ..chunks(1).remove(0) }];
    let passage = Passage { document: 0, name: "Outil", chunk_id: "c0", content };
    let values: Vec<String> = passage.values(&rules, 200).into_iter().map(|(value, _)| value).collect();
    assert_eq!(values, ["En production", "Il traite chaque année plus de quatre cents dossiers."]);
    let reply =
        r#"{"question_1": "Outil 0 est-il en production ?", "question_2": "Quel est l'état de Outil 0 ?", "question_3": "Combien ?"}"#;
    struct Reader(String);
    impl LanguageModel for Reader {
        fn name(&self) -> String {
            "reader".to_owned()
        }

        // Words questions, and finds the sentence but never the state.
        fn answer(&self, request: &Request) -> Result<Reply, ModelFailure> {
            let is_check = request.messages.len() == 1;
            let text = if is_check { json!({ "answer": "plus de quatre cents dossiers" }).to_string() } else { self.0.clone() };
            Ok(Reply { text, ..Reply::default() })
        }
    }
    let model = Reader(reply.to_owned());
    let found = facts_by_model(
        &documents(&chunks, &rules),
        &model,
        &rules,
        &ModelOptions { answers: ModelAnswers::Copied, ..options(10) },
        &mut |_| true,
    );
    let mut kept: Vec<(String, usize)> = found.facts.iter().map(|fact| (fact.answer(), fact.questions.len())).collect();
    kept.sort();
    // The last question names nothing; of the state no question is answered by it.
    assert_eq!(kept, [("Il traite chaque année plus de quatre cents dossiers.".to_owned(), 2)]);
    assert_eq!(found.drops.totals().collect::<Vec<_>>(), [(DropReason::NotFoundAgain, 1)]);
}

#[test]
fn a_fatal_failure_ends_the_work_and_keeps_what_was_found() {
    let rules = Rules::shipped("fr").expect("rules");
    let chunks = chunks(3);
    let failure = |fatal| Err(ModelFailure { model: "scripted".to_owned(), problem: "no".to_owned(), fatal });
    let model = Scripted(vec![failure(false), Ok("garbage".to_owned()), failure(true)].into());
    let found = facts_by_model(&documents(&chunks, &rules), &model, &rules, &options(10), &mut |_| true);
    assert_eq!((found.work.shown, found.work.failures), (3, 2));
    assert!(found.failure.is_some_and(|failure| failure.fatal) && found.facts.is_empty());
    assert_eq!(found.drops.totals().collect::<Vec<_>>(), [(DropReason::Malformed, 1)]);
}

#[test]
fn a_failure_while_questions_are_asked_again_is_a_failure() {
    let rules = Rules::shipped("fr").expect("rules");
    let chunks = chunks(1);
    let reply = r#"{"question_1": "Que fait Outil 0 ?", "question_2": "Depuis quand Outil 0 existe-t-il ?", "question_3": ""}"#;
    let failure = ModelFailure { model: "scripted".to_owned(), problem: "limit".to_owned(), fatal: true };
    let model = Scripted(vec![Ok(reply.to_owned()), Err(failure.clone())].into());
    let copied = ModelOptions { answers: ModelAnswers::Copied, ..options(10) };
    let found = facts_by_model(&documents(&chunks, &rules), &model, &rules, &copied, &mut |_| true);
    assert_eq!(found.failure, Some(failure));
    assert!(found.facts.is_empty() && found.drops.totals().next().is_none());
}
