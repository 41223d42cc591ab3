//! Any bytes as a safetensors file: an error, or tensors that are as long as their shapes say.
#![no_main]

use std::path::Path;

use dyag_kernels::map::Bytes;
use dyag_model::weights::SafetensorsFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(file) = SafetensorsFile::from_bytes(Path::new("fuzzed"), Bytes::from_vec(data.to_vec())) else { return };
    let mut n_bytes = 0;
    for name in file.names() {
        let tensor = file.tensor(name).expect("a listed tensor");
        n_bytes += tensor.bytes.len();
        let n: usize = tensor.shape.iter().product();
        assert_eq!(n * tensor.dtype.size(), tensor.bytes.len());
        for len in [tensor.to_f32().map(|values| values.len()), tensor.to_i64().map(|values| values.len())] {
            assert_eq!(len.unwrap_or(n), n);
        }
    }
    assert!(n_bytes <= data.len());
});
