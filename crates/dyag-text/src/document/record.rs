//! Entries of catalogues: objects with keys, of which some tell the entry's id, name and state.

use serde_json::{Map, Value};

/// Keys that hold an entry's id, in the order in which they are looked for, as [`normal_key`] writes them.
pub(crate) const ID_KEYS: [&str; 10] =
    ["id", "identifiant", "identifier", "code", "reference", "ref", "numero", "uid", "uuid", "application id"];

/// Keys that hold its name.
pub(crate) const NAME_KEYS: [&str; 9] = ["nom", "name", "titre", "title", "libelle", "label", "intitule", "nom application", "application"];

/// Keys that hold its state.
pub(crate) const STATE_KEYS: [&str; 7] = ["statut si", "statut", "status", "etat", "state", "app state", "phase"];

/// An entry of a catalogue.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its own id, else a slug of its name, else its place in the document.
    pub id: String,
    /// Its name, else its id.
    pub name: String,
    /// Its state, where it has one.
    pub state: Option<String>,
    /// Everything it says, the id, the name and the state too.
    pub fields: Map<String, Value>,
}

impl Record {
    /// Entry number `index` of the document `source_id`.
    pub(super) fn new(fields: Map<String, Value>, source_id: &str, index: usize) -> Self {
        let find = |keys: &[&str]| key_of(&fields, keys).and_then(|key| scalar(&fields[key]));
        let name = find(&NAME_KEYS);
        let id = find(&ID_KEYS)
            .or_else(|| name.as_deref().map(slug).filter(|slug| !slug.is_empty()))
            .unwrap_or_else(|| format!("{source_id}#{index}"));
        Self { name: name.unwrap_or_else(|| id.clone()), state: find(&STATE_KEYS), id, fields }
    }

    /// Whether an object names itself, so that it is an entry rather than something that holds entries.
    pub(super) fn is_entry(object: &Map<String, Value>) -> bool {
        [ID_KEYS.as_slice(), &NAME_KEYS].into_iter().any(|keys| key_of(object, keys).is_some())
    }
}

/// The first of `keys` that the object has with a scalar that says something, as the object writes it.
pub(crate) fn key_of<'a>(object: &'a Map<String, Value>, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|wanted| {
        object.iter().find(|(key, value)| normal_key(key) == *wanted && scalar(value).is_some()).map(|(key, _)| key.as_str())
    })
}

/// A string, number or truth value as text; nothing for the others and for what is blank.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(if *flag { "oui" } else { "non" }.to_owned()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A key for comparing: small letters without accents, words with one space between them.
pub(crate) fn normal_key(key: &str) -> String {
    fold(key, ' ')
}

/// A name as an id: small letters without accents, words with a hyphen between them.
pub(crate) fn slug(name: &str) -> String {
    fold(name, '-')
}

fn fold(text: &str, between: char) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut pending = false;
    for c in text.chars().flat_map(char::to_lowercase) {
        // A combining accent after its letter.
        if ('\u{300}'..='\u{36F}').contains(&c) {
            continue;
        }
        if !c.is_alphanumeric() {
            pending = true;
            continue;
        }
        if std::mem::take(&mut pending) && !folded.is_empty() {
            folded.push(between);
        }
        match c {
            'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' => folded.push('a'),
            'ç' => folded.push('c'),
            'è' | 'é' | 'ê' | 'ë' => folded.push('e'),
            'ì' | 'í' | 'î' | 'ï' => folded.push('i'),
            'ñ' => folded.push('n'),
            'ò' | 'ó' | 'ô' | 'õ' | 'ö' => folded.push('o'),
            'ù' | 'ú' | 'û' | 'ü' => folded.push('u'),
            'ý' | 'ÿ' => folded.push('y'),
            'œ' => folded.push_str("oe"),
            'æ' => folded.push_str("ae"),
            c => folded.push(c),
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_without_accents_and_marks() {
        assert_eq!(normal_key("Domaines et sous-domaines"), "domaines et sous domaines");
        assert_eq!(normal_key("Porte\u{301}e géographique "), "portee geographique");
        assert_eq!(slug("Access'cité (v2)"), "access-cite-v2");
    }
}
