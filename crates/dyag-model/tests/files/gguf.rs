//! The GGUF reader by itself: every value type, and every way a header can lie.

use std::path::Path;

use dyag_kernels::Format;
use dyag_kernels::map::Bytes;
use dyag_model::ModelError;
use dyag_model::weights::GgufFile;
use dyag_model::weights::gguf::Value;
use dyag_testing::GgufBuilder;

use crate::assert_error;

fn open(bytes: Vec<u8>) -> Result<GgufFile, ModelError> {
    GgufFile::from_bytes(Path::new("x.gguf"), Bytes::from_vec(bytes))
}

fn opened(builder: &GgufBuilder) -> Result<GgufFile, ModelError> {
    open(builder.build())
}

#[test]
fn metadata_of_every_type_come_back() {
    let nested = [&8u32.to_le_bytes()[..], &1u64.to_le_bytes(), &2u64.to_le_bytes(), b"hi"].concat();
    let file = opened(
        &GgufBuilder::default()
            .raw("u8", 0, &[200])
            .raw("i8", 1, &[200])
            .raw("u16", 2, &[0xff, 0xff])
            .raw("i16", 3, &[0xff, 0xff])
            .u32("u32", u32::MAX)
            .raw("i32", 5, &(-5i32).to_le_bytes())
            .f32("f32", 0.1)
            .bool("bool", true)
            .text("text", "é ▁")
            .raw("u64", 10, &u64::MAX.to_le_bytes())
            .raw("i64", 11, &i64::MIN.to_le_bytes())
            .raw("f64", 12, &0.1f64.to_le_bytes())
            .texts("texts", &["a", ""])
            .i32s("i32s", &[-1, 7])
            .f32s("f32s", &[1.5])
            .array("f64s", 12, &[0.25f64.to_le_bytes().to_vec()])
            .array("bools", 7, &[vec![0], vec![1]])
            .array("arrays", 9, &[nested]),
    )
    .unwrap();
    let text = |s: &str| s.to_owned();
    for (key, expected) in [
        ("u8", Value::Integer(200)),
        ("i8", Value::Integer(-56)),
        ("u16", Value::Integer(65535)),
        ("i16", Value::Integer(-1)),
        ("u32", Value::Integer(u32::MAX.into())),
        ("i32", Value::Integer(-5)),
        ("f32", Value::Float(f64::from(0.1f32))),
        ("bool", Value::Bool(true)),
        ("text", Value::String(text("é ▁"))),
        ("u64", Value::Integer(u64::MAX.into())),
        ("i64", Value::Integer(i64::MIN.into())),
        ("f64", Value::Float(0.1)),
        ("texts", Value::Strings(vec![text("a"), text("")])),
        ("i32s", Value::Integers(vec![-1, 7])),
        ("f32s", Value::Floats(vec![1.5])),
        ("f64s", Value::Floats(vec![0.25])),
        ("bools", Value::Bools(vec![false, true])),
        ("arrays", Value::Arrays(vec![Value::Strings(vec![text("hi")])])),
    ] {
        assert_eq!(file.value(key), Some(&expected), "{key}");
    }
    assert_eq!((file.version(), file.keys().count()), (3, 18));
}

#[test]
fn tensors_come_back_in_any_alignment_and_both_versions() {
    for (alignment, version) in [(32, 3), (64, 2), (1, 3), (4096, 3)] {
        let mut builder = GgufBuilder::default().version(version).aligned(alignment).tensor_f32("a", &[3], &[1.0, 2.0, 3.0]);
        builder = builder.tensor("b", &[2, 32], 8, (0..68).collect()).tensor_f32("c", &[2, 1], &[4.0, 5.0]);
        let file = opened(&builder).unwrap();
        let (a, b, c) = (file.tensor("a").unwrap(), file.tensor("b").unwrap(), file.tensor("c").unwrap());
        assert_eq!((a.format, a.shape.as_slice()), (Format::F32, &[3][..]));
        assert_eq!((b.format, b.shape.as_slice()), (Format::Q8_0, &[2, 32][..]));
        assert_eq!(file.bytes(b).as_slice(), (0..68).collect::<Vec<u8>>());
        assert_eq!(file.bytes(c).as_slice(), [4.0f32.to_le_bytes(), 5.0f32.to_le_bytes()].concat());
        assert_eq!(file.version(), version);
    }
}

#[test]
fn truncated_files_say_how_long_they_ought_to_be() {
    let builder = GgufBuilder::default().text("general.name", "x").tensor_f32("a", &[100], &[0.0; 100]).tensor_f32("b", &[1], &[0.0]);
    let whole = builder.build();
    assert!(open(whole.clone()).is_ok());
    for len in 0..whole.len() {
        let Err(error) = open(whole[..len].to_vec()) else { panic!("{len} of {} bytes were accepted", whole.len()) };
        let ModelError::Truncated { expected, found, .. } = error else { panic!("{len}: {error}") };
        assert_eq!(found, len as u64);
        assert!(expected > found && expected <= whole.len() as u64, "{len}: {expected}");
    }
    let cut = whole.len() - 1;
    assert_error(
        open(whole[..cut].to_vec()),
        &["x.gguf", "the tensor `b`", &format!("ends at byte {}", whole.len()), &format!("the file has {cut} bytes")],
    );
}

#[test]
fn counts_and_lengths_beyond_the_file_are_refused_before_room_is_made() {
    let header =
        |n_tensors: u64, n_pairs: u64| [b"GGUF", &3u32.to_le_bytes()[..], &n_tensors.to_le_bytes(), &n_pairs.to_le_bytes()].concat();
    assert_error(open(header(1 << 60, 0)), &["the list of tensors (1152921504606846976 items)", "the file has 24 bytes"]);
    assert_error(open(header(0, u64::MAX)), &["the metadata", "the file has 24 bytes"]);
    let long_array = [&8u32.to_le_bytes()[..], &(1u64 << 40).to_le_bytes()].concat();
    assert_error(opened(&GgufBuilder::default().raw("k", 9, &long_array)), &["the metadata `k` (1099511627776 items)", "truncated"]);
    assert_error(opened(&GgufBuilder::default().raw("k", 8, &u64::MAX.to_le_bytes())), &["the metadata `k`", "truncated"]);
}

#[test]
fn broken_rules_are_named() {
    let builder = GgufBuilder::default;
    assert_error(open(b"GGML\x03\0\0\0".to_vec()), &["the first four bytes", "\"GGUF\""]);
    assert_error(opened(&builder().version(1)), &["the version", "2 or 3", "found 1"]);
    assert_error(opened(&builder().version(3u32.swap_bytes())), &["the version", "big-endian"]);
    assert_error(opened(&builder().raw("k", 13, &[])), &["the metadata `k`", "a value type from 0 to 12", "13"]);
    assert_error(opened(&builder().raw("k", 7, &[2])), &["the metadata `k`", "0 or 1", "found 2"]);
    assert_error(opened(&builder().raw("k", 8, &[1, 0, 0, 0, 0, 0, 0, 0, 0xff])), &["the metadata `k`", "UTF-8"]);
    assert_error(opened(&builder().u32("k", 1).raw_twice("k", 4, &[0; 4])), &["the metadata `k`", "one value"]);
    assert_error(opened(&builder().array("k", 10, &[u64::MAX.to_le_bytes().to_vec()])), &["the metadata `k`", "63 bits"]);
    let mut deep = [&4u32.to_le_bytes()[..], &1u64.to_le_bytes(), &[0; 4]].concat();
    for _ in 0..6 {
        deep = [&9u32.to_le_bytes()[..], &1u64.to_le_bytes(), &deep].concat();
    }
    assert_error(opened(&builder().raw("k", 9, &deep)), &["the metadata `k`", "nested at most 4 deep"]);
    for wrong in [0u32, 3, 1 << 21] {
        assert_error(opened(&builder().u32("general.alignment", wrong)), &["general.alignment", "a power of two", &wrong.to_string()]);
    }
}

#[test]
fn tensors_that_cannot_be_are_named() {
    let builder = GgufBuilder::default;
    let typed = |kind| builder().tensor("t", &[256], kind, vec![0; 4096]);
    assert_error(opened(&typed(23)), &["the tensor `t`", "type IQ4_XS", "Q4_K"]);
    assert_error(opened(&typed(10)), &["type Q2_K"]);
    assert_error(opened(&typed(26)), &["type I32"]);
    assert_error(opened(&typed(9999)), &["type number 9999"]);
    assert_error(opened(&builder().tensor("t", &[], 0, vec![])), &["the tensor `t`", "1 to 4 dimensions", "found 0"]);
    assert_error(opened(&builder().tensor("t", &[1; 5], 0, vec![0; 4])), &["1 to 4 dimensions", "found 5"]);
    assert_error(opened(&builder().tensor("t", &[2, 33], 8, vec![0; 200])), &["whole blocks of 32 elements (Q8_0)", "[33, 2]"]);
    let huge = 1 << 40;
    assert_error(opened(&builder().tensor("t", &[huge, huge, huge], 0, vec![])), &["the tensor `t`", "a size of 64 bits"]);
    assert_error(opened(&builder().tensor("t", &[huge], 0, vec![])), &["the tensor `t`", "truncated"]);
    let twice = builder().tensor_f32("t", &[8], &[0.0; 8]).tensor_f32("t", &[8], &[0.0; 8]);
    assert_error(opened(&twice), &["the tensor `t`", "a second one"]);
    // Two tensors whose offsets are 0 and 32; move the second.
    let two = builder().tensor_f32("aaaa", &[8], &[0.0; 8]).tensor_f32("bbbb", &[16], &[0.0; 16]).build();
    let at = two.windows(4).position(|w| w == b"bbbb").unwrap() + 4 + 4 + 8 + 4;
    let moved = |offset: u64| {
        let mut bytes = two.clone();
        bytes[at..at + 8].copy_from_slice(&offset.to_le_bytes());
        open(bytes)
    };
    assert!(moved(32).is_ok());
    assert_error(moved(33), &["the tensor `bbbb`", "truncated"]);
    assert_error(moved(16), &["the tensor `bbbb`", "a multiple of 32", "found 16"]);
    assert_error(moved(0), &["an offset of at least 32", "found 0"]);
    assert_error(moved(u64::MAX), &["the tensor `bbbb`", "truncated"]);
}
