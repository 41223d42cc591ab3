//! A row of a dataset as the trainer sees it: token by token, and which of them are learned.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use dyag_text::{Conversation, ConversationReader, Example, ExampleOptions};
use serde_json::{Value, json};

use super::dataset::place;
use super::facts::one_line;
use crate::language::say;
use crate::model_files::ModelFiles;
use crate::terminal::{self, Paint};

pub(super) fn show(path: &Path, line: u64, base_model: &str, options: &ExampleOptions, paint: Paint, json: bool) -> anyhow::Result<()> {
    let conversation = conversation_at(path, line)?;
    let files = ModelFiles::open(base_model)?;
    let example = files.chat().example(&conversation, options)?;
    if json { print_json(&files, &example) } else { print(&files, &example, paint) }
}

/// The conversation on a line of a dataset. What follows that line is not read.
fn conversation_at(path: &Path, line: u64) -> anyhow::Result<Conversation> {
    let file = File::open(path).with_context(|| format!("cannot read the dataset {}", path.display()))?;
    let mut last = None;
    for conversation in ConversationReader::new(BufReader::new(file), &Arc::from(path)) {
        let conversation = conversation?;
        let at = conversation.source.line as u64;
        if at == line {
            return Ok(conversation);
        }
        last = Some(at);
    }
    match last {
        Some(last) => bail!("{}: expected --line with a line that holds a conversation, up to {last}, found {line}", path.display()),
        None => bail!("{}: the dataset holds no conversation: expected at least one line {{\"messages\": [...]}}", path.display()),
    }
}

fn print_json(files: &ModelFiles, example: &Example) -> anyhow::Result<()> {
    let texts = token_texts(files, &example.ids);
    let tokens: Vec<Value> = example
        .ids
        .iter()
        .zip(&texts)
        .zip(&example.loss_mask)
        .map(|((id, text), learned)| {
            json!({ "id": id, "text": shown(text), "control": files.tokenizer().is_control(*id), "learned": learned })
        })
        .collect();
    terminal::print_json(&json!({
        "dataset": example.source.path.display().to_string(),
        example.source.unit.name(): example.source.line,
        "n_tokens": example.ids.len(),
        "n_learned": example.n_trained(),
        "tokens": tokens,
    }))
}

/// The running text where colours can tell what is learned, and a table: what each token stands for, and whether it is learned.
fn print(files: &ModelFiles, example: &Example, paint: Paint) -> anyhow::Result<()> {
    let texts = token_texts(files, &example.ids);
    terminal::print_line(say!(
        "{}: {} tokens, {} learned",
        "{} : {} jetons, dont {} appris",
        place(&example.source),
        example.ids.len(),
        example.n_trained()
    ))?;
    if paint.is_on() {
        terminal::print_line(running_text(files, example, &texts, paint))?;
    }
    terminal::print_line(say!("{:>6} {:>8}  learned  text", "{:>6} {:>8}  appris   texte", "place", "id"))?;
    for (place, ((id, text), learned)) in example.ids.iter().zip(&texts).zip(&example.loss_mask).enumerate() {
        let mark = if *learned { say!("yes", "oui") } else { "-".to_owned() };
        let text = one_line(shown(text));
        let text = if *learned { paint.good(&text) } else { text };
        terminal::print_line(format!("{place:>6} {id:>8}  {mark:<7}  {text}"))?;
    }
    Ok(())
}

/// The text of all tokens: those that are learned in one colour, control words that are not in a pale one.
fn running_text(files: &ModelFiles, example: &Example, texts: &[String], paint: Paint) -> String {
    let (learned, control) = (paint.good(&say!("learned", "appris")), paint.faint(&say!("control word", "mot de contrôle")));
    let mut painted = say!("{learned} {control}:\n", "{learned} {control} :\n");
    let mut rest = example.ids.iter().zip(texts).zip(&example.loss_mask).peekable();
    while let Some(((id, text), learned)) = rest.next() {
        let is_control = files.tokenizer().is_control(*id);
        let mut run = text.clone();
        // Neighbours of one colour are painted together.
        while let Some(((id, text), _)) =
            rest.next_if(|((id, _), other)| *other == learned && files.tokenizer().is_control(**id) == is_control)
        {
            let _ = id;
            run.push_str(text);
        }
        let run = run.split('\n').map(one_line).collect::<Vec<_>>().join("\n");
        painted.push_str(&match (*learned, is_control) {
            (true, _) => paint.good(&run),
            (false, true) => paint.faint(&run),
            (false, false) => run,
        });
    }
    painted
}

/// What each token adds to the text; nothing where a character is not whole yet. Control tokens have their words.
fn token_texts(files: &ModelFiles, ids: &[u32]) -> Vec<String> {
    let tokenizer = files.tokenizer();
    let mut stream = tokenizer.stream();
    ids.iter().map(|id| if tokenizer.is_control(*id) { tokenizer.token(*id).unwrap_or_default() } else { stream.push(*id) }).collect()
}

/// The text of one token alone: an ellipsis where a character is not whole yet.
fn shown(text: &str) -> &str {
    if text.is_empty() { "…" } else { text }
}
