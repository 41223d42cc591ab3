//! Attention against the reference over every kind of span, and the promise that a query's bits are its own.

use std::ops::Range;

use crate::cpu_device::CpuDevice;
use crate::cpu_device::tests::{compare, devices, numbers};
use crate::device::{AttentionInputs, AttentionShape, AttentionSpan, Device, Precision};

fn span(queries: Range<usize>, prefix: Range<usize>, own: Range<usize>) -> AttentionSpan {
    AttentionSpan { queries, prefix, own }
}

/// All gradients and results of spans that take all rows of their buffers.
fn check(shape: AttentionShape, spans: &[AttentionSpan]) {
    check_to(3e-6, shape, spans);
}

fn check_to(tolerance: f32, shape: AttentionShape, spans: &[AttentionSpan]) {
    let AttentionShape { n_heads, n_kv_heads, head_size, .. } = shape;
    let end = |rows: fn(&AttentionSpan) -> usize| spans.iter().map(rows).max().unwrap();
    let [q, d_out] = [1, 2].map(|seed| numbers(seed, end(|span| span.queries.end) * n_heads * head_size));
    let [k, v] = [3, 4].map(|seed| numbers(seed, end(|span| span.own.end) * n_kv_heads * head_size));
    compare(Precision::F32, tolerance, &format!("attention {shape:?}"), |device| device.attention(shape, spans, [&q, &k, &v], &d_out));
}

#[test]
fn attention_of_packed_spans() {
    for (n_heads, n_kv_heads, head_size) in [(4, 2, 16), (6, 2, 12), (3, 3, 40), (5, 1, 33)] {
        for window in [None, Some(5), Some(24)] {
            let shape = AttentionShape { n_heads, n_kv_heads, head_size, scale: 0.3, window, causal: true };
            // A shared prefix, two examples that see it, an example of its own longer than a block, and a single token.
            let spans = [
                span(0..20, 0..0, 0..20),
                span(20..31, 0..20, 20..31),
                span(31..62, 0..20, 31..62),
                span(62..140, 0..0, 62..140),
                span(140..141, 0..0, 140..141),
            ];
            check(shape, &spans);
        }
    }
}

/// A prefix that ends inside a block, examples on it that reach over several blocks, and one of some queries at the end of their keys.
fn long_spans() -> [AttentionSpan; 4] {
    [span(0..150, 0..0, 0..150), span(150..280, 0..150, 150..280), span(280..390, 0..150, 280..390), span(390..410, 0..0, 390..680)]
}

#[test]
fn attention_over_several_blocks_of_keys() {
    for (n_heads, n_kv_heads, head_size) in [(2, 1, 64), (3, 1, 80), (4, 2, 128), (12, 4, 7)] {
        for window in [None, Some(40), Some(126), Some(200)] {
            let shape = AttentionShape { n_heads, n_kv_heads, head_size, scale: 1.0 / (head_size as f32).sqrt(), window, causal: true };
            check(shape, &long_spans());
        }
    }
}

#[test]
fn attention_of_a_long_span() {
    for (n_heads, n_kv_heads, window) in [(2, 1, None), (1, 1, Some(300)), (20, 1, Some(9))] {
        check(AttentionShape { n_heads, n_kv_heads, head_size: 10, scale: 0.3, window, causal: true }, &[span(0..1100, 0..0, 0..1100)]);
    }
}

#[test]
fn attention_of_more_spans_than_lanes() {
    let spans: Vec<AttentionSpan> = std::iter::once(span(0..30, 0..0, 0..30))
        .chain((0..20).map(|i| 30 + 7 * i).map(|at| span(at..at + 7, 3..30, at..at + 7)))
        .collect();
    for (n_heads, n_kv_heads) in [(4, 1), (4, 2)] {
        check(AttentionShape { n_heads, n_kv_heads, head_size: 24, scale: 0.3, window: None, causal: true }, &spans);
    }
}

#[test]
fn scores_far_apart_do_not_overflow() {
    let shape = AttentionShape { n_heads: 2, n_kv_heads: 1, head_size: 16, scale: 60.0, window: None, causal: true };
    check_to(1e-4, shape, &[span(0..300, 0..0, 0..300)]);
}

/// Whole spans: texts end to end, one that takes several blocks of keys, a lone token, a shared prefix, and some queries at the end of their keys.
#[test]
fn attention_of_whole_spans() {
    for (n_heads, n_kv_heads, head_size) in [(4, 4, 16), (3, 3, 33), (6, 2, 12), (2, 1, 64)] {
        let shape = AttentionShape { n_heads, n_kv_heads, head_size, scale: 0.3, window: None, causal: false };
        let short = [span(0..20, 0..0, 0..20), span(20..21, 0..0, 20..21), span(21..62, 0..0, 21..62), span(62..70, 0..20, 62..70)];
        check(shape, &short);
        check(shape, &long_spans());
    }
    let shape = AttentionShape { n_heads: 1, n_kv_heads: 1, head_size: 10, scale: 0.3, window: None, causal: false };
    check(shape, &[span(0..1100, 0..0, 0..1100)]);
}

/// A text's bits are its own: alone, or among others in any order.
#[test]
fn attention_of_a_whole_span_does_not_depend_on_its_neighbours() {
    let (n_heads, head_size, lens) = (3, 24, [40, 1, 300, 127, 7]);
    let shape = AttentionShape { n_heads, n_kv_heads: n_heads, head_size, scale: 0.25, window: None, causal: false };
    let width = n_heads * head_size;
    let rows: usize = lens.iter().sum();
    let [q, k, v] = [1, 2, 3].map(|seed| numbers(seed, rows * width));
    let starts = lens.iter().scan(0, |at, len| Some(std::mem::replace(at, *at + len)));
    let spans: Vec<AttentionSpan> = starts.zip(lens).map(|(at, len)| span(at..at + len, 0..0, at..at + len)).collect();
    for device in devices(Precision::F32) {
        let together = forward(&device, shape, &spans, [&q, &k, &v]);
        for of in &spans {
            let part = of.own.start * width..of.own.end * width;
            let alone =
                forward(&device, shape, &[span(0..of.own.len(), 0..0, 0..of.own.len())], [&q, &k, &v].map(|values| &values[part.clone()]));
            assert!(alone[0].iter().zip(&together[0][part]).all(|(a, b)| a.to_bits() == b.to_bits()), "{of:?}, {}", device.describe());
        }
    }
}

/// Output and log of the sum of exponentials, in buffers poisoned before.
fn forward(device: &CpuDevice, shape: AttentionShape, spans: &[AttentionSpan], [q, k, v]: [&[f32]; 3]) -> [Vec<f32>; 2] {
    let [mut out, mut lse] = [q.len(), q.len() / shape.head_size].map(|len| device.upload(&vec![f32::NAN; len]));
    let [q, k, v] = [q, k, v].map(|values| device.upload(values));
    device.attention(&AttentionInputs { shape, spans, q: &q, k: &k, v: &v }, &mut out, &mut lse);
    [out, lse].map(|buffer| device.download(&buffer))
}

#[test]
fn rows_in_no_span_are_left_alone() {
    let shape = AttentionShape { n_heads: 2, n_kv_heads: 1, head_size: 8, scale: 0.3, window: None, causal: true };
    let (q, k) = (numbers(1, 9 * 16), numbers(2, 9 * 8));
    for device in devices(Precision::F32) {
        let [out, lse] = forward(&device, shape, &[span(2..7, 0..0, 2..7)], [&q, &k, &k]);
        for (values, width) in [(out, 16), (lse, 2)] {
            for (row, values) in values.chunks_exact(width).enumerate() {
                assert!(values.iter().all(|v| v.is_nan() != (2..7).contains(&row)));
            }
        }
    }
}

/// Queries by themselves, as decoding steps, in short runs and beside others, with the first keys as a prefix or as their own: bit by bit what the whole span gives.
#[test]
fn attention_of_a_decoding_step_has_the_bits_of_the_whole() {
    let rows = 300;
    for (n_heads, n_kv_heads, head_size) in [(4, 2, 16), (6, 1, 64), (3, 1, 80), (4, 1, 128), (2, 2, 5), (16, 1, 12)] {
        for window in [None, Some(33), Some(126), Some(127)] {
            let shape = AttentionShape { n_heads, n_kv_heads, head_size, scale: 0.25, window, causal: true };
            let (width, keys) = (n_heads * head_size, n_kv_heads * head_size);
            let q = numbers(1, rows * width);
            let [k, v] = [3, 4].map(|seed| numbers(seed, rows * keys));
            for device in devices(Precision::F32) {
                let whole = forward(&device, shape, &[span(0..rows, 0..0, 0..rows)], [&q, &k, &v]);
                for (at, n, prefix) in
                    [(299, 1, 17), (299, 1, 0), (125, 1, 0), (126, 1, 126), (252, 1, 130), (200, 100, 140), (0, 77, 0), (290, 2, 0)]
                {
                    let own = prefix..at + n;
                    // A query of another sequence comes first, over the same rows.
                    let spans = [span(0..1, 0..0, 0..250), span(1..n + 1, 0..prefix, own)];
                    let queries = [&q[..width], &q[at * width..(at + n) * width]].concat();
                    let some = forward(&device, shape, &spans, [&queries, &k, &v]);
                    for (some, whole) in some.iter().zip(&whole) {
                        let width = whole.len() / rows;
                        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                        let [some, whole] = [bits(&some[width..]), bits(&whole[at * width..(at + n) * width])];
                        assert_eq!(some, whole, "{n} queries from {at} on, {prefix} of prefix, {shape:?}, {}", device.describe());
                    }
                }
            }
        }
    }
}
