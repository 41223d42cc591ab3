//! The safetensors reader by itself.

use std::path::Path;

use dyag_kernels::map::Bytes;
use dyag_model::ModelError;
use dyag_model::weights::{Dtype, SafetensorsFile};

use crate::assert_error;
use crate::folder::safetensors;

fn open(bytes: Vec<u8>) -> Result<SafetensorsFile, ModelError> {
    SafetensorsFile::from_bytes(Path::new("x.safetensors"), Bytes::from_vec(bytes))
}

/// A file of `header` and `n_data` bytes of data.
fn with_header(header: &str, n_data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; n_data]].concat()
}

#[test]
fn tensors_come_back() {
    let floats: Vec<u8> = [1.5f32, -2.0, 0.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let longs: Vec<u8> = [i64::MIN, 7].iter().flat_map(|v| v.to_le_bytes()).collect();
    let ints: Vec<u8> = [-5i32].iter().flat_map(|v| v.to_le_bytes()).collect();
    let halves: Vec<u8> = [0x3c00u16, 0xc000].iter().flat_map(|v| v.to_le_bytes()).collect();
    let bytes = safetensors(&[
        ("b", "BF16", &[1], &[0x80, 0x3f]),
        ("f", "F32", &[3, 1], &floats),
        ("h", "F16", &[2], &halves),
        ("i", "I32", &[], &ints),
        ("l", "I64", &[2], &longs),
        ("none", "F32", &[0, 4], &[]),
    ]);
    let file = open(bytes).unwrap();
    assert_eq!(file.names().collect::<Vec<_>>(), ["b", "f", "h", "i", "l", "none"]);
    let get = |name| file.tensor(name).unwrap();
    assert_eq!((get("f").dtype, get("f").shape), (Dtype::F32, &[3, 1][..]));
    assert_eq!(get("f").to_f32().unwrap(), [1.5, -2.0, 0.0]);
    assert_eq!(get("b").to_f32().unwrap(), [1.0]);
    assert_eq!(get("h").to_f32().unwrap(), [1.0, -2.0]);
    assert_eq!(get("l").to_i64().unwrap(), [i64::MIN, 7]);
    assert_eq!(get("i").to_i64().unwrap(), [-5]);
    assert_eq!(get("none").to_f32().unwrap(), [0.0; 0]);
    assert!(file.tensor("absent").is_none());
    assert_error(get("l").to_f32(), &["x.safetensors", "`l`", "I64", "F32, F16, BF16"]);
    assert_error(get("f").to_i64(), &["`f`", "F32", "I64, I32"]);
}

#[test]
fn headers_that_claim_more_than_the_file_are_refused_with_both_sizes() {
    assert_error(open(vec![]), &["ends at byte 8", "the file has 0 bytes", "truncated"]);
    assert_error(open(vec![1, 0, 0]), &["the file has 3 bytes"]);
    let mut claims = with_header("{}", 0);
    claims[..8].copy_from_slice(&1000u64.to_le_bytes());
    assert_error(open(claims.clone()), &["the header ends at byte 1008", "the file has 10 bytes"]);
    claims[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_error(open(claims), &["the length of the header", "at most 100000000", "18446744073709551615"]);
    let header = r#"{"a":{"dtype":"F32","shape":[1000],"data_offsets":[0,4000]}}"#;
    let end = 8 + header.len() + 4000;
    assert_error(open(with_header(header, 40)), &["the tensor `a`", &format!("ends at byte {end}"), &format!("has {} bytes", end - 3960)]);
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let tensor = |dtype: &str, shape: &str, offsets: &str| {
        with_header(&format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#), 16)
    };
    assert!(open(tensor("F32", "[4]", "[0,16]")).is_ok());
    assert_error(open(tensor("F32", "[5]", "[0,16]")), &["`a`", "20 bytes for shape [5] of F32", "data_offsets [0, 16]"]);
    assert_error(open(tensor("F32", "[4]", "[16,0]")), &["data_offsets [16, 0]"]);
    assert_error(open(tensor("F31", "[4]", "[0,16]")), &["`a`", "type F31", "F32"]);
    let huge = "[4294967296,4294967296,4294967296]";
    assert_error(open(tensor("F32", huge, "[0,16]")), &["fits 64 bits"]);
    let far = format!("[{},{}]", u64::MAX - 16, u64::MAX);
    assert_error(open(tensor("F32", "[4]", &far)), &["`a`"]);
    assert_error(open(tensor("F32", "[3]", "[0,12]")), &["the file", "where the last tensor ends"]);
    assert_error(open(tensor("F32", "[3]", "[4,16]")), &["leaves a hole before it", "a beginning at 0"]);
    assert_error(open(tensor("F32", "[-1]", "[0,16]")), &["the header", "JSON that lists"]);
    let overlap = r#"{"a":{"dtype":"U8","shape":[10],"data_offsets":[0,10]},"b":{"dtype":"U8","shape":[8],"data_offsets":[8,16]}}"#;
    assert_error(open(with_header(overlap, 16)), &["`b`", "overlaps the tensor before it", "a beginning at 10"]);
    let twice = r#"{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[8],"data_offsets":[8,16]}}"#;
    assert_error(open(with_header(twice, 16)), &["`a` is listed twice"]);
    for wrong in ["", "[]", "{\"a\":3}", "{\"__metadata__\":{\"x\":1}}", "{} {}"] {
        assert_error(open(with_header(wrong, 0)), &["the header", "expected JSON"]);
    }
}

#[test]
fn metadata_come_back() {
    let file = open(with_header(r#"{"__metadata__":{"format":"pt"}}"#, 0)).unwrap();
    assert_eq!(file.metadata().get("format").map(String::as_str), Some("pt"));
    assert_eq!(file.names().count(), 0);
}
