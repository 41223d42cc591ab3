//! A writer of small GGUF files, right ones and wrong ones.

/// Builds a GGUF file piece by piece. Nothing is checked: tests want wrong files too.
#[derive(Clone, Debug)]
pub struct GgufBuilder {
    version: u32,
    alignment: usize,
    metadata: Vec<(String, Vec<u8>)>,
    tensors: Vec<Tensor>,
}

#[derive(Clone, Debug)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    kind: u32,
    bytes: Vec<u8>,
}

impl Default for GgufBuilder {
    fn default() -> Self {
        Self { version: 3, alignment: 32, metadata: Vec::new(), tensors: Vec::new() }
    }
}

/// A string as GGUF has it: length, bytes.
fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

impl GgufBuilder {
    /// Sets the version in the header.
    pub fn version(self, version: u32) -> Self {
        Self { version, ..self }
    }

    /// Sets what tensors' offsets are multiples of, and the metadata value that says so.
    pub fn aligned(self, alignment: usize) -> Self {
        Self { alignment, ..self }.u32("general.alignment", alignment as u32)
    }

    /// Adds a value of type `kind` in its raw bytes, replacing an earlier one of the same key.
    pub fn raw(mut self, key: &str, kind: u32, bytes: &[u8]) -> Self {
        self.metadata.retain(|(k, _)| k != key);
        self.metadata.push((key.to_owned(), [&kind.to_le_bytes()[..], bytes].concat()));
        self
    }

    /// Adds a value again, though its key may be there already.
    pub fn raw_twice(mut self, key: &str, kind: u32, bytes: &[u8]) -> Self {
        self.metadata.push((key.to_owned(), [&kind.to_le_bytes()[..], bytes].concat()));
        self
    }

    /// Adds an unsigned integer of 32 bits.
    pub fn u32(self, key: &str, value: u32) -> Self {
        self.raw(key, 4, &value.to_le_bytes())
    }

    /// Adds an f32.
    pub fn f32(self, key: &str, value: f32) -> Self {
        self.raw(key, 6, &value.to_le_bytes())
    }

    /// Adds a boolean.
    pub fn bool(self, key: &str, value: bool) -> Self {
        self.raw(key, 7, &[u8::from(value)])
    }

    /// Adds a string.
    pub fn text(self, key: &str, value: &str) -> Self {
        self.raw(key, 8, &string(value))
    }

    /// Adds an array of values of type `kind`, each in its raw bytes.
    pub fn array(self, key: &str, kind: u32, items: &[Vec<u8>]) -> Self {
        let head = [&kind.to_le_bytes()[..], &(items.len() as u64).to_le_bytes()].concat();
        self.raw(key, 9, &[head, items.concat()].concat())
    }

    /// Adds an array of strings.
    pub fn texts<T: AsRef<str>>(self, key: &str, values: &[T]) -> Self {
        let items: Vec<_> = values.iter().map(|v| string(v.as_ref())).collect();
        self.array(key, 8, &items)
    }

    /// Adds an array of booleans.
    pub fn bools(self, key: &str, values: &[bool]) -> Self {
        let items: Vec<_> = values.iter().map(|v| vec![u8::from(*v)]).collect();
        self.array(key, 7, &items)
    }

    /// Adds an array of i32.
    pub fn i32s(self, key: &str, values: &[i32]) -> Self {
        let items: Vec<_> = values.iter().map(|v| v.to_le_bytes().to_vec()).collect();
        self.array(key, 5, &items)
    }

    /// Adds an array of f32.
    pub fn f32s(self, key: &str, values: &[f32]) -> Self {
        let items: Vec<_> = values.iter().map(|v| v.to_le_bytes().to_vec()).collect();
        self.array(key, 6, &items)
    }

    /// Removes a value.
    pub fn without(mut self, key: &str) -> Self {
        self.metadata.retain(|(k, _)| k != key);
        self
    }

    /// Removes a tensor.
    pub fn without_tensor(mut self, name: &str) -> Self {
        self.tensors.retain(|tensor| tensor.name != name);
        self
    }

    /// Adds a tensor of type number `kind`; `shape` has the outermost size first.
    pub fn tensor(mut self, name: &str, shape: &[usize], kind: u32, bytes: Vec<u8>) -> Self {
        self.tensors.push(Tensor { name: name.to_owned(), shape: shape.to_vec(), kind, bytes });
        self
    }

    /// Adds a tensor of f32.
    pub fn tensor_f32(self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        self.tensor(name, shape, 0, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// The file.
    pub fn build(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            file.extend(string(key));
            file.extend(value);
        }
        let mut data = Vec::new();
        for Tensor { name, shape, kind, bytes } in &self.tensors {
            data.resize(data.len().next_multiple_of(self.alignment), 0);
            file.extend(string(name));
            file.extend((shape.len() as u32).to_le_bytes());
            file.extend(shape.iter().rev().flat_map(|size| (*size as u64).to_le_bytes()));
            file.extend(kind.to_le_bytes());
            file.extend((data.len() as u64).to_le_bytes());
            data.extend(bytes);
        }
        file.resize(file.len().next_multiple_of(self.alignment), 0);
        file.extend(data);
        file
    }
}
