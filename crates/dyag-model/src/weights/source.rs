//! Where a model came from: for people, and for telling one base from another.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::gguf::GgufTokenizer;
use super::table::{StoredTensor, TensorTable};
use crate::config::DecoderConfig;

/// Kinds of files that hold a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// config.json and safetensors.
    Folder,
    /// One GGUF file.
    Gguf,
}

/// Where a model came from.
#[derive(Clone, Debug)]
pub struct ModelSource {
    /// The path that was given.
    pub path: PathBuf,
    /// What kind of files lie there.
    pub kind: SourceKind,
    /// The model's own name (GGUF's `general.name`, or the folder's name).
    pub name: String,
    /// Formats of the matrices with the number of matrices in each, most used first.
    pub formats: Vec<(&'static str, usize)>,
    /// Elements of all tensors (a tied head counts once).
    pub n_parameters: u64,
    /// Bytes of all tensors.
    pub n_bytes: u64,
    /// The tokenizer of a GGUF file; a folder has its own files for that.
    pub tokenizer: Option<GgufTokenizer>,
    shape: String,
    tensors: Vec<(String, StoredTensor)>,
}

/// Bytes of each end of a tensor that the fingerprint reads.
const SAMPLE: usize = 4096;

impl ModelSource {
    pub(super) fn new(
        path: &Path,
        kind: SourceKind,
        name: String,
        shape: String,
        table: TensorTable,
        tokenizer: Option<GgufTokenizer>,
    ) -> Self {
        let tensors: Vec<_> = table.tensors.into_iter().collect();
        let mut formats: Vec<(&'static str, usize)> = Vec::new();
        for (_, tensor) in tensors.iter().filter(|(_, tensor)| tensor.shape.len() > 1) {
            match formats.iter_mut().find(|(name, _)| *name == tensor.type_name) {
                Some((_, count)) => *count += 1,
                None => formats.push((tensor.type_name, 1)),
            }
        }
        sort(&mut formats);
        let n_parameters = tensors.iter().map(|(_, tensor)| tensor.shape.iter().product::<usize>() as u64).sum();
        let n_bytes = tensors.iter().map(|(_, tensor)| tensor.bytes.len() as u64).sum();
        Self { path: path.to_owned(), kind, name, formats, n_parameters, n_bytes, tokenizer, shape, tensors }
    }

    /// Counts one matrix of `from` as one of `to`.
    pub(super) fn count_format(&mut self, from: &'static str, to: &'static str) {
        for (name, by) in [(from, -1), (to, 1)] {
            match self.formats.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => *count = count.saturating_add_signed(by),
                None => self.formats.push((name, 1)),
            }
        }
        self.formats.retain(|(_, count)| *count > 0);
        sort(&mut self.formats);
    }

    /// Names of the matrices' formats, most used first: `Q5_0, Q8_0, Q4_K`.
    pub fn format_names(&self) -> String {
        let names: Vec<_> = self.formats.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// A hash that tells this base from others, cheap enough for every start: hexadecimal SHA-256 of a version line, the numbers of the
    /// configuration that change results, and, for each tensor in the order of names, its name, type, shape, size, and first and last
    /// 4096 bytes. Paths, token ids and metadata have no part in it. A change inside a large tensor that spares both ends
    /// is not seen: this guards against confusion, not against forgery.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update("dyag base fingerprint 1\n");
        hash.update(&self.shape);
        for (name, tensor) in &self.tensors {
            let bytes = tensor.bytes.as_slice();
            hash.update(format!("{} {name} {} {:?} {}\n", name.len(), tensor.type_name, tensor.shape, bytes.len()));
            if bytes.len() <= 2 * SAMPLE {
                hash.update(bytes);
            } else {
                hash.update(&bytes[..SAMPLE]);
                hash.update(&bytes[bytes.len() - SAMPLE..]);
            }
        }
        hexadecimal(hash)
    }

    /// A hash of all that the tensors hold: hexadecimal SHA-256 of a version line, the shape, and each tensor's name, type, shape and bytes, in the order of names.
    /// It reads every byte.
    pub fn content_hash(&self) -> String {
        let mut hash = Sha256::new();
        hash.update("dyag model content 1\n");
        hash.update(&self.shape);
        for (name, tensor) in &self.tensors {
            hash.update(format!("{} {name} {} {:?}\n", name.len(), tensor.type_name, tensor.shape));
            hash.update(tensor.bytes.as_slice());
        }
        hexadecimal(hash)
    }
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Most used first.
fn sort(formats: &mut [(&'static str, usize)]) {
    formats.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
}

/// The numbers of a configuration that change results, one a line, for the fingerprint. Changing this text changes every fingerprint.
pub(super) fn shape_text(config: &DecoderConfig) -> String {
    // Destructured so that a new field cannot be forgotten.
    let DecoderConfig {
        family,
        hidden_size,
        intermediate_size,
        n_layers,
        n_heads,
        n_kv_heads,
        head_size,
        vocab_size,
        max_positions: _,
        rms_norm_eps,
        rope,
        window_rope,
        windows,
        fused,
        qkv_bias,
        o_bias,
        head_norms,
        output_norms,
        attention_scale,
        embedding_scale,
        activation,
        tied_head,
        bos_token_id: _,
        eos_token_ids: _,
    } = config;
    let mut text = format!(
        "{family} C {hidden_size} F {intermediate_size} L {n_layers} H {n_heads} G {n_kv_heads} D {head_size} V {vocab_size}\n\
         eps {rms_norm_eps:e} rope {rope:?}\nwindows {windows:?}\nfused {fused} bias {qkv_bias} {activation:?} tied {tied_head}\n"
    );
    // What not all families have is said where it is there, so that the others' fingerprints stay.
    if *o_bias {
        text.push_str("o bias\n");
    }
    if *head_norms || *output_norms {
        let _ = writeln!(
            text,
            "norms of heads {head_norms} of outputs {output_norms} scales {attention_scale:e} {embedding_scale:e} rope of windows {window_rope:?}"
        );
    }
    text
}
