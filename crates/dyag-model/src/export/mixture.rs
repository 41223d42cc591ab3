//! Which format each tensor of a GGUF file gets: llama.cpp's mixtures, whose rules are the facts below.

use dyag_kernels::Format;

use super::gguf::GgufType;
use super::rows::Rows;
use crate::adapter::{Projection, Site};
use crate::config::DecoderConfig;
use crate::weights::Content;

/// The format of a tensor in a file of type `kind`.
pub(super) fn format(kind: GgufType, config: &DecoderConfig, rows: &Rows<'_>) -> Format {
    let Content::Matrix(matrix, site) = rows.tensor.content else { return Format::F32 };
    let main = kind.main_format();
    if main.block_len() == 1 {
        return main;
    }
    let name = rows.tensor.name.as_str();
    let wanted = match site {
        // The head weighs most; a tied embedding is the head.
        None if name == "output.weight" || config.tied_head => head_format(main, matrix.cols()),
        None => main,
        Some(site) => layer_format(kind, main, config, site),
    };
    fitting(wanted, matrix.cols())
}

fn head_format(main: Format, cols: usize) -> Format {
    if !cols.is_multiple_of(main.block_len()) || main == Format::Q8_0 { Format::Q8_0 } else { Format::Q6K }
}

/// The mixtures give values and the feed-forward block's last matrix more bits in some layers.
fn layer_format(kind: GgufType, main: Format, config: &DecoderConfig, site: Site) -> Format {
    let mixed = matches!(kind, GgufType::Q4KM | GgufType::Q5KM);
    let precious = matches!(site.projection, Projection::V | Projection::Qkv | Projection::Down);
    if mixed && precious && has_more_bits(site.layer, config.n_layers) {
        return Format::Q6K;
    }
    // Of models of 80 layers with grouped heads, values are a small part.
    let values = matches!(site.projection, Projection::V | Projection::Qkv);
    if values && main == Format::Q4K && config.n_layers == 80 && config.n_heads != config.n_kv_heads { Format::Q5K } else { main }
}

/// The first and the last eighth of the layers, and every third between.
fn has_more_bits(layer: usize, n_layers: usize) -> bool {
    let eighth = n_layers / 8;
    layer < eighth || layer >= 7 * n_layers / 8 || (layer - eighth) % 3 == 2
}

/// `wanted`, or the format of smaller blocks that takes its place where rows are no whole blocks of it.
fn fitting(wanted: Format, cols: usize) -> Format {
    let smaller = match wanted {
        Format::Q4K => Format::Q5_0,
        Format::Q5K => Format::Q5_1,
        Format::Q6K => Format::Q8_0,
        other => other,
    };
    [wanted, smaller].into_iter().find(|format| cols.is_multiple_of(format.block_len())).unwrap_or(Format::F16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_no_whole_blocks_get_the_format_that_llama_cpp_gives_them() {
        assert_eq!([Format::Q4K, Format::Q5K, Format::Q6K].map(|f| fitting(f, 896)), [Format::Q5_0, Format::Q5_1, Format::Q8_0]);
        assert_eq!([Format::Q4K, Format::Q8_0].map(|f| fitting(f, 1024)), [Format::Q4K, Format::Q8_0]);
        assert_eq!([Format::Q4_0, Format::Q6K].map(|f| fitting(f, 40)), [Format::F16; 2]);
        assert_eq!(
            [head_format(Format::Q4K, 896), head_format(Format::Q4_0, 896), head_format(Format::Q4K, 1024)].map(|f| fitting(f, 896)),
            [Format::Q8_0; 3]
        );
    }

    #[test]
    fn the_layers_with_more_bits_are_those_of_published_files() {
        // The 24 layers of Qwen2.5 0.5B: values in Q8_0 (for Q6_K) there, Q5_0 elsewhere.
        let layers: Vec<_> = (0..24).filter(|layer| has_more_bits(*layer, 24)).collect();
        assert_eq!(layers, [0, 1, 2, 5, 8, 11, 14, 17, 20, 21, 22, 23]);
    }
}
