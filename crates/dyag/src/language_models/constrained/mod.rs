//! Answers that satisfy a schema by construction: the program writes the braces, names and commas, the model writes what stands between them.
//!
//! The JSON is put together here, not read from the model's text, so that it is whole whatever the model does. The model reads everything as if it had
//! written it. A text lasts until the model writes a quotation mark, also in the middle of a token; a list goes on while the model prefers `,` to `]`.

mod text;
mod tokens;

use anyhow::Context as _;
use dyag_kernels::cpu_device::CpuDevice;
use dyag_model::decoder::{SamplingOptions, Sequence};
use dyag_text::{ControlWords, StreamDecoder, Tokenizer};
use serde_json::{Map, Number, Value};

use super::schema::Shape;
use text::TextReader;
pub(super) use tokens::TokenTable;

/// Digits that a number has at most.
const MAX_DIGITS: usize = 15;
/// A whole number within so narrow bounds is chosen among all of them.
const FEW_NUMBERS: f64 = 100.0;

/// What a constrained answer came to.
#[derive(Debug)]
pub(super) struct Written {
    /// The answer.
    pub(super) value: Value,
    /// Whether the tokens did not suffice: a text was ended early, or what was missing is as short as the schema allows.
    pub(super) cut: bool,
    /// Tokens of the answer that the model wrote or read.
    pub(super) n_tokens: usize,
}

/// Writes an answer of the shape `shape` after what `sequence` has read, as long as that has room.
pub(super) fn write(
    shape: &Shape,
    sequence: Sequence<'_, CpuDevice>,
    tokenizer: &Tokenizer,
    table: &TokenTable,
    sampling: SamplingOptions,
) -> anyhow::Result<Written> {
    let n_prompt = sequence.ids().len();
    let mut writer = Writer::new(sequence, tokenizer, table, sampling);
    let value = writer.value(shape, 0)?;
    let Writer { sequence, cut, .. } = writer;
    Ok(Written { value, cut, n_tokens: sequence.ids().len() - n_prompt })
}

struct Writer<'a> {
    sequence: Sequence<'a, CpuDevice>,
    tokenizer: &'a Tokenizer,
    table: &'a TokenTable,
    sampling: SamplingOptions,
    /// Text that the model has not read yet.
    unread: String,
    /// What stands, without white space, in the model's last token after the end of a text or a number: what it would have written next.
    ahead: String,
    /// Numbers the draws.
    step: usize,
    /// There is no room for more; what is still missing is written without the model.
    full: bool,
    cut: bool,
}

/// Fewest texts that a value of this shape holds: what room is divided by.
fn fewest_texts(shape: &Shape) -> usize {
    match shape {
        Shape::Object(properties) => properties.iter().map(|(_, shape)| fewest_texts(shape)).sum(),
        Shape::Array { items, min, .. } => min * fewest_texts(items),
        Shape::Text { .. } => 1,
        Shape::Choice(_) | Shape::Number { .. } | Shape::Boolean => 0,
    }
}

impl<'a> Writer<'a> {
    fn new(sequence: Sequence<'a, CpuDevice>, tokenizer: &'a Tokenizer, table: &'a TokenTable, sampling: SamplingOptions) -> Self {
        Self { sequence, tokenizer, table, sampling, unread: String::new(), ahead: String::new(), step: 0, full: false, cut: false }
    }

    /// Writes a value. `n_after`: texts that have to follow it.
    fn value(&mut self, shape: &Shape, n_after: usize) -> anyhow::Result<Value> {
        match shape {
            Shape::Object(properties) => self.object(properties, n_after),
            Shape::Array { items, min, max } => self.array(items, *min, *max, n_after),
            Shape::Text { min, max } => self.text(*min, *max, n_after).map(Value::String),
            Shape::Choice(choices) => {
                let written: Vec<String> = choices.iter().map(|choice| Value::from(choice.as_str()).to_string()).collect();
                Ok(choices[self.choice(&written)?].as_str().into())
            }
            Shape::Number { whole, min, max } => self.number(*whole, *min, *max),
            Shape::Boolean => Ok((self.choice(&["true".to_owned(), "false".to_owned()])? == 0).into()),
        }
    }

    fn object(&mut self, properties: &[(String, Shape)], n_after: usize) -> anyhow::Result<Value> {
        let mut object = Map::new();
        let mut opening = "{";
        for (i, (name, shape)) in properties.iter().enumerate() {
            self.say(opening);
            self.say(&format!("{}: ", Value::from(name.as_str())));
            let siblings: usize = properties[i + 1..].iter().map(|(_, shape)| fewest_texts(shape)).sum();
            object.insert(name.clone(), self.value(shape, siblings + n_after)?);
            opening = ", ";
        }
        self.say(if properties.is_empty() { "{}" } else { "}" });
        Ok(object.into())
    }

    fn array(&mut self, items: &Shape, min: usize, max: usize, n_after: usize) -> anyhow::Result<Value> {
        let mut list = Vec::new();
        self.say("[");
        while list.len() < max {
            let needed = list.len() < min;
            if !needed && !self.goes_on(items, list.is_empty())? {
                break;
            }
            if !list.is_empty() {
                self.say(", ");
            }
            let cut_before = std::mem::take(&mut self.cut);
            let needed_after = min.saturating_sub(list.len() + 1) * fewest_texts(items);
            let item = self.value(items, needed_after + n_after)?;
            let cut_item = self.cut;
            self.cut |= cut_before;
            // Half an item is worth less than none.
            if cut_item && !needed {
                break;
            }
            list.push(item);
        }
        self.say("]");
        Ok(list.into())
    }

    /// Whether the model wants one more item, rather than the end of the list.
    ///
    /// Tokens such as `},` and `}],` say so together with the end of the item, and a model that has read `}` alone rarely goes on. So the brackets and
    /// marks that end what is unread are held back, and the choice is among the tokens that begin with them.
    fn goes_on(&mut self, items: &Shape, is_first: bool) -> anyhow::Result<bool> {
        let more: &[char] = match (is_first, items) {
            (false, _) => &[','],
            (true, Shape::Object(_)) => &['{'],
            (true, Shape::Array { .. }) => &['['],
            (true, Shape::Text { .. } | Shape::Choice(_)) => &['"'],
            (true, Shape::Number { .. }) => &['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'],
            (true, Shape::Boolean) => &['t', 'f'],
        };
        if let Some(next) = self.ahead.chars().next().filter(|next| *next == ']' || more.contains(next)) {
            return Ok(next != ']');
        }
        let n_before = self.unread.trim_end_matches(['"', '[', ']', '{', '}']).len();
        let mut held_back = self.unread.split_off(n_before);
        while self.settle()? {
            let (mut goes_on, mut ends, mut begins) = (Vec::new(), Vec::new(), Vec::new());
            let firsts = held_back.chars().next().map_or_else(|| [more, &[']']].concat(), |first| vec![first]);
            for (id, text) in firsts.iter().flat_map(|first| self.table.starting_with(*first)) {
                match text.strip_prefix(held_back.as_str()) {
                    Some(rest) if rest.starts_with(more) => goes_on.push(*id),
                    Some(rest) if rest.starts_with(']') => ends.push(*id),
                    _ if held_back.starts_with(text.as_str()) => begins.push((*id, text.len())),
                    _ => {}
                }
            }
            let allowed: Vec<u32> = goes_on.iter().chain(&ends).chain(begins.iter().map(|(id, _)| id)).copied().collect();
            let Some(chosen) = self.choose_among(&allowed) else { break };
            if let Some((id, length)) = begins.iter().find(|(id, _)| *id == chosen) {
                self.push(&[*id]);
                held_back.drain(..*length);
                continue;
            }
            self.unread = held_back;
            return Ok(goes_on.contains(&chosen));
        }
        self.unread = held_back;
        Ok(false)
    }

    /// Writes a text of `min` to `max` characters, with the quotation marks around it.
    fn text(&mut self, min: usize, max: usize, n_after: usize) -> anyhow::Result<String> {
        self.say("\"");
        if !self.settle()? {
            return Ok(String::new());
        }
        let limit = (self.sequence.room() / (1 + n_after)).max(1);
        let tokenizer = self.tokenizer;
        let mut decoder: StreamDecoder<'_> = tokenizer.stream();
        let mut reader = TextReader::new(max);
        let mut rest = String::new();
        for n in 0.. {
            if n == limit || self.sequence.room() == 0 || reader.is_full() {
                self.cut = true;
                self.full |= self.sequence.room() == 0;
                break;
            }
            let id = self.choose_letter(reader.n_chars() < min);
            if self.table.is_stop(id) {
                break;
            }
            let piece = decoder.push(id);
            if let Some(end) = reader.read(&piece) {
                // The model has not read this token; it reads what stands before the mark, and then what the program writes.
                self.say(&piece[..end]);
                rest.push_str(&piece[end + 1..]);
                break;
            }
            self.push(&[id]);
        }
        self.say("\"");
        self.expect(&rest);
        Ok(reader.finish())
    }

    /// The next token of a text. `too_short`: one that does not end it.
    fn choose_letter(&mut self, too_short: bool) -> u32 {
        let mut logits = self.sequence.logits().to_vec();
        if too_short {
            self.table.ends_of_text().iter().for_each(|id| logits[*id as usize] = f32::NEG_INFINITY);
        }
        // Rows of the embedding that no token uses are trained to nothing.
        logits.iter_mut().skip(self.table.len()).for_each(|logit| *logit = f32::NEG_INFINITY);
        self.choose(&mut logits)
    }

    /// Writes one of several literals, all of them different. Gives its index.
    fn choice(&mut self, literals: &[String]) -> anyhow::Result<usize> {
        if !self.settle()? || literals.len() == 1 {
            self.say(&literals[0]);
            return Ok(0);
        }
        let mut alive = Vec::with_capacity(literals.len());
        for (index, literal) in literals.iter().enumerate() {
            alive.push((index, tokens_within(self.tokenizer, literal)?));
        }
        for depth in 0.. {
            if let [(index, ids)] = alive.as_slice() {
                let (index, rest) = (*index, ids[depth.min(ids.len())..].to_vec());
                let text = self.tokenizer.decode(&rest);
                // As text where that is possible: its mark then may share a token with what follows.
                if literals[index].ends_with(&text) {
                    self.say(&text);
                } else {
                    self.push(&rest);
                }
                return Ok(index);
            }
            let whole = alive.iter().find(|(_, ids)| ids.len() == depth).map(|(index, _)| *index);
            let mut allowed: Vec<u32> = alive.iter().filter_map(|(_, ids)| ids.get(depth).copied()).collect();
            if whole.is_some() {
                allowed.extend(self.table.ends_of_value());
            }
            let chosen = self.choose_among(&allowed);
            let next: Vec<_> = alive.iter().filter(|(_, ids)| ids.get(depth).copied() == chosen && chosen.is_some()).cloned().collect();
            match (chosen, whole) {
                (Some(id), _) if !next.is_empty() => {
                    self.push(&[id]);
                    alive = next;
                }
                (Some(id), Some(index)) => {
                    self.expect(&self.tokenizer.decode(&[id]));
                    return Ok(index);
                }
                _ => break,
            }
            if self.full {
                break;
            }
        }
        // No room to decide in: any of those that are left.
        Ok(alive[0].0)
    }

    fn number(&mut self, whole: bool, min: f64, max: f64) -> anyhow::Result<Value> {
        if whole && max - min <= FEW_NUMBERS {
            let all: Vec<i64> = (min.ceil() as i64..=max.floor() as i64).collect();
            let written: Vec<String> = all.iter().map(i64::to_string).collect();
            return Ok(all[self.choice(&written)?].into());
        }
        let mut digits = String::new();
        let mut open = self.settle()?;
        while open && digits.len() < MAX_DIGITS {
            let fits = |text: &str| is_number_beginning(&format!("{digits}{text}"), whole, min < 0.0);
            let mut allowed: Vec<u32> = self.table.numeric().iter().filter(|(_, text)| fits(text)).map(|(id, _)| *id).collect();
            if digits.ends_with(|c: char| c.is_ascii_digit()) {
                allowed.extend(self.table.ends_of_value());
            }
            let chosen = self.choose_among(&allowed);
            let text = chosen.and_then(|id| Some((id, self.table.numeric().iter().find(|(other, _)| *other == id)?.1.clone())));
            match text {
                Some((id, text)) => {
                    digits.push_str(&text);
                    self.push(&[id]);
                    open = !self.full;
                }
                None => {
                    open = false;
                    self.expect(&chosen.map_or_else(String::new, |id| self.tokenizer.decode(&[id])));
                }
            }
        }
        let number = digits.trim_end_matches('.').parse::<f64>().unwrap_or(0.0).clamp(min, max);
        if whole {
            return Ok((number.round().clamp(min.ceil(), max.floor()) as i64).into());
        }
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    /// Adds to what the model is to read before it writes again.
    fn say(&mut self, text: &str) {
        self.unread.push_str(text);
        for c in text.chars().filter(|c| !c.is_whitespace()) {
            match self.ahead.strip_prefix(c) {
                Some(rest) => self.ahead = rest.to_owned(),
                None => self.ahead.clear(),
            }
        }
    }

    /// Keeps what the model would have written next.
    fn expect(&mut self, text: &str) {
        self.ahead = text.split_whitespace().collect();
    }

    /// Lets the model read what it has not read yet. False: there is no room, now or any more.
    fn settle(&mut self) -> anyhow::Result<bool> {
        if !self.full && !self.unread.is_empty() {
            let text = std::mem::take(&mut self.unread);
            let ids = tokens_within(self.tokenizer, &text)?;
            self.push(&ids);
        }
        self.full |= self.sequence.room() == 0;
        self.cut |= self.full;
        Ok(!self.full)
    }

    fn push(&mut self, ids: &[u32]) {
        self.ahead.clear();
        if self.full || ids.len() > self.sequence.room() {
            self.full = true;
        } else {
            self.sequence.push(ids);
        }
    }

    /// The model's choice among these tokens; none if there are none.
    fn choose_among(&mut self, allowed: &[u32]) -> Option<u32> {
        if allowed.is_empty() {
            return None;
        }
        let all = self.sequence.logits();
        let mut logits = vec![f32::NEG_INFINITY; all.len()];
        allowed.iter().for_each(|id| logits[*id as usize] = all[*id as usize]);
        Some(self.choose(&mut logits))
    }

    fn choose(&mut self, logits: &mut [f32]) -> u32 {
        self.step += 1;
        self.sampling.choose(logits, self.sequence.ids(), 0, self.step - 1)
    }
}

/// Tokens of a text that stands in the middle of another: without the space that some tokenizers put before a text.
fn tokens_within(tokenizer: &Tokenizer, text: &str) -> anyhow::Result<Vec<u32>> {
    let encode = |text: &str| tokenizer.encode(text, ControlWords::AsText).context("the form of the answer has no tokens");
    let after_a_line = encode(&format!("\n{text}"))?;
    let start = after_a_line.bytes.iter().position(|bytes| bytes.start >= 1);
    match start {
        Some(start) if after_a_line.bytes[..start].iter().all(|bytes| bytes.end <= 1) => Ok(after_a_line.ids[start..].to_vec()),
        _ => Ok(encode(text)?.ids),
    }
}

/// Whether a number can begin so.
fn is_number_beginning(text: &str, whole: bool, may_be_negative: bool) -> bool {
    let unsigned = match text.strip_prefix('-') {
        Some(_) if !may_be_negative => return false,
        Some(rest) => rest,
        None => text,
    };
    let mut parts = unsigned.splitn(2, '.');
    let (integer, fraction) = (parts.next().unwrap_or_default(), parts.next());
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    // JSON has no 007 and no .5.
    let integer_fits = digits(integer) && (integer.len() < 2 || !integer.starts_with('0'));
    integer_fits && fraction.is_none_or(|fraction| !whole && !integer.is_empty() && digits(fraction))
}

#[cfg(test)]
mod tests;
