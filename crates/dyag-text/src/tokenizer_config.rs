//! tokenizer_config.json of a model whose files had none: of a GGUF file.

use serde_json::{Map, Value, json};

use crate::template::ChatTemplate;

/// What Transformers needs beside a tokenizer.json: its general class, the words with a role, the chat template.
pub fn tokenizer_config_json(template: &ChatTemplate, max_positions: usize) -> Value {
    let special = template.special();
    let mut object = Map::new();
    object.insert("tokenizer_class".to_owned(), json!("PreTrainedTokenizerFast"));
    let words = [("bos_token", &special.bos), ("eos_token", &special.eos), ("unk_token", &special.unk), ("pad_token", &special.pad)];
    object.extend(words.into_iter().filter_map(|(key, word)| word.as_ref().map(|word| (key.to_owned(), json!(word)))));
    object.insert("clean_up_tokenization_spaces".to_owned(), json!(false));
    object.insert("model_max_length".to_owned(), json!(max_positions));
    object.insert("chat_template".to_owned(), json!(template.source()));
    Value::Object(object)
}
