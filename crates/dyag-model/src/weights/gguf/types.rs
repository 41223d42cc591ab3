//! GGUF's numbering of tensor types.

use dyag_kernels::Format;

/// Names by number, as ggml has them; holes are types that were withdrawn.
const NAMES: [(u32, &str); 36] = [
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (6, "Q5_0"),
    (7, "Q5_1"),
    (8, "Q8_0"),
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (12, "Q4_K"),
    (13, "Q5_K"),
    (14, "Q6_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (30, "BF16"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (4, "Q4_2 (withdrawn)"),
    (5, "Q4_3 (withdrawn)"),
    (31, "Q4_0_4_4 (withdrawn)"),
];

/// Formats that are read, in the order messages list them.
const READ: [Format; 11] = [
    Format::F32,
    Format::F16,
    Format::Bf16,
    Format::Q4_0,
    Format::Q4_1,
    Format::Q5_0,
    Format::Q5_1,
    Format::Q8_0,
    Format::Q4K,
    Format::Q5K,
    Format::Q6K,
];

/// The format of type `number`, or the name of a type that is not read.
pub(super) fn format(number: u32) -> Result<Format, String> {
    let name = NAMES.iter().find(|row| row.0 == number).map(|row| row.1);
    READ.into_iter()
        .find(|format| Some(format.name()) == name)
        .ok_or_else(|| name.map_or_else(|| format!("number {number}"), str::to_owned))
}

/// The number of a type that is written.
///
/// # Panics
/// For NF4, which no file holds.
pub(super) fn number(format: Format) -> u32 {
    NAMES.iter().find(|row| row.1 == format.name()).expect("every format of files has a number").0
}

/// Names of the types that are read.
pub(super) fn supported() -> String {
    READ.map(Format::name).join(", ")
}
