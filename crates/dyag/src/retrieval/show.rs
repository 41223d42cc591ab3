//! What was found, for people and as JSON.

use dyag_retrieval::{Citation, Found, Hit, Place, Stages, Verdict};
use serde_json::{Value, json};

use crate::language::{Language, say};
use crate::terminal;

/// The hits as JSON, best first.
pub(crate) fn hits_json(found: &Found, shown: usize) -> Vec<Value> {
    let hit = |(place, Hit { chunk, score, stages }): (usize, &Hit)| {
        json!({
            "rank": place + 1, "id": chunk.id, "source_id": chunk.source_id, "title": chunk.title, "content": chunk.content,
            "metadata": chunk.metadata, "chunk_type": chunk.chunk_type, "score": score, "stages": stages, "shown": place < shown,
        })
    };
    found.hits.iter().enumerate().map(hit).collect()
}

/// Prints every stage's ranks and scores.
pub(crate) fn explain(found: &Found) -> anyhow::Result<()> {
    let place = |place: Option<Place>| place.map_or("-".to_owned(), |Place { rank, score }| format!("{rank} ({score:.4})"));
    terminal::print_line(say!(
        "    id               words (BM25)   vector (cos)  fused (RRF)   reranker      title",
        "    id               mots (BM25)    vecteur (cos) fusion (RRF)  reclassement  titre"
    ))?;
    for (n, Hit { chunk, stages: Stages { lexical, vector, fused, rerank }, .. }) in found.hits.iter().enumerate() {
        terminal::print_line(format!(
            "{:>2}  {:<16} {:<14} {:<13} {:<13} {:<13} {}",
            n + 1,
            terminal::printable(&chunk.id),
            place(*lexical),
            place(*vector),
            place(*fused),
            place(*rerank),
            terminal::printable(&chunk.title)
        ))?;
    }
    for (word, instead) in &found.corrections {
        let (word, instead) = (terminal::printable(word), instead.join(", "));
        terminal::print_line(say!(
            "\"{word}\" is not in the collection; searched for {instead}",
            "« {word} » n'est pas dans la collection ; recherché à la place : {instead}"
        ))?;
    }
    if !found.confidence.unknown_words.is_empty() {
        terminal::print_line(say!(
            "not in the collection, nor anything like it: {}",
            "pas dans la collection, ni rien d'approchant : {}",
            found.confidence.unknown_words.join(", ")
        ))?;
    }
    terminal::print_line(sureness(found))?;
    let seconds: Vec<String> =
        found.seconds.iter().map(|(stage, seconds)| format!("{} {:.1} ms", stage_in_words(stage), 1e3 * seconds)).collect();
    terminal::print_line(say!("time: {}", "temps : {}", seconds.join(", ")))
}

/// A stage of a search, as its time is told.
fn stage_in_words(stage: &str) -> &str {
    match (Language::spoken(), stage) {
        (Language::French, "lexical") => "mots",
        (Language::French, "embed") => "vectorisation",
        (Language::French, "vector") => "vecteurs",
        (Language::French, "rerank") => "reclassement",
        (Language::French, "all") => "total",
        _ => stage,
    }
}

/// How sure the search is, in a line.
pub(crate) fn sureness(found: &Found) -> String {
    let confidence = &found.confidence;
    let deviations = confidence.deviations.map_or(String::new(), |deviations| {
        say!(
            ", nearest vector {deviations:+.1} standard deviations from unrelated passages",
            ", vecteur le plus proche à {deviations:+.1} écarts types des passages sans rapport"
        )
    });
    let (verdict, share) = (confidence.verdict.words(), 100.0 * confidence.coverage);
    let verdict = match (Language::spoken(), confidence.verdict) {
        (Language::English, _) => verdict,
        (Language::French, Verdict::Nothing) => "rien de pertinent trouvé",
        (Language::French, Verdict::Unsure) => "peut-être pertinent",
        (Language::French, Verdict::Sure) => "pertinent",
    };
    say!(
        "search: {verdict}; {share:.0} % of the question's words in one passage{deviations}",
        "recherche : {verdict} ; {share:.0} % des mots de la question dans un passage{deviations}"
    )
}

/// Prints what an answer rests on.
pub(crate) fn print_citations(found: &Found, citations: &[Citation]) -> anyhow::Result<()> {
    if citations.is_empty() {
        terminal::print_line(say!(
            "No sentence of the passages says this: the answer is the model's own.",
            "Aucune phrase des passages ne le dit : la réponse est celle du modèle."
        ))?;
    }
    for Citation { passage, chunk_id, start, end, sentence, answer: _, support } in citations {
        let title = found.hits.get(passage - 1).map_or("", |hit| hit.chunk.title.as_str());
        let (title, sentence, support) = (terminal::printable(title), terminal::printable(sentence), 100.0 * support);
        terminal::print_line(say!(
            "[{passage}] {title} ({chunk_id}, characters {start} to {end}, {support:.0} %): \"{sentence}\"",
            "[{passage}] {title} ({chunk_id}, caractères {start} à {end}, {support:.0} %) : « {sentence} »"
        ))?;
    }
    terminal::print_line(sureness(found))
}
