//! From bytes to text: UTF-8, UTF-16 with a byte order mark, or the encoding that the person names.

use encoding_rs::{Encoding, UTF_8};

use super::error::DocumentError;

/// A text encoding other than UTF-8, for files that are in neither UTF-8 nor UTF-16 with a byte order mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextEncoding(&'static Encoding);

impl TextEncoding {
    /// An encoding by its name, such as `windows-1252`.
    ///
    /// # Errors
    /// A name that no encoding has.
    pub fn named(name: &str) -> Result<Self, DocumentError> {
        Encoding::for_label(name.trim().as_bytes()).map(Self).ok_or_else(|| DocumentError::UnknownEncoding { name: name.to_owned() })
    }
}

/// The text of a file. `fallback` reads what is neither UTF-8 nor UTF-16 with a byte order mark.
///
/// # Errors
/// Text in another encoding, with the first byte that shows it; bytes that the fallback does not have.
pub(super) fn decode(bytes: &[u8], path: &str, fallback: Option<TextEncoding>) -> Result<String, DocumentError> {
    if let Some((marked, n_mark)) = Encoding::for_bom(bytes) {
        return if marked == UTF_8 { utf8(bytes, n_mark, path) } else { strictly(&bytes[n_mark..], marked, path) };
    }
    let other = fallback.map(|TextEncoding(encoding)| encoding).filter(|encoding| *encoding != UTF_8);
    // Zeros and escapes are valid UTF-8, and the sign of UTF-16 and of encodings that switch between alphabets.
    let may_be_utf8 = !bytes.contains(&0) && !bytes.contains(&0x1B);
    match other {
        Some(encoding) if !may_be_utf8 || std::str::from_utf8(bytes).is_err() => strictly(bytes, encoding, path),
        _ => utf8(bytes, 0, path),
    }
}

fn utf8(bytes: &[u8], start: usize, path: &str) -> Result<String, DocumentError> {
    let fail = |offset: usize| DocumentError::Encoding { path: path.to_owned(), byte: bytes[offset], offset, likely: likely(bytes) };
    let text = std::str::from_utf8(&bytes[start..]).map_err(|error| fail(start + error.valid_up_to()))?;
    match text.find('\0') {
        Some(zero) => Err(fail(start + zero)),
        None => Ok(text.to_owned()),
    }
}

fn strictly(bytes: &[u8], encoding: &'static Encoding, path: &str) -> Result<String, DocumentError> {
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes);
    text.map(std::borrow::Cow::into_owned).ok_or_else(|| DocumentError::NotInEncoding { path: path.to_owned(), name: encoding.name() })
}

/// What text that is not UTF-8 probably is: with zeros at every other place UTF-16, else what Windows writes in western Europe.
fn likely(bytes: &[u8]) -> &'static str {
    let zeros = |parity: usize| bytes.iter().skip(parity).step_by(2).take(2000).filter(|byte| **byte == 0).count();
    match (zeros(0), zeros(1)) {
        (0, 0) => "windows-1252",
        (even, odd) if even > odd => "utf-16be",
        _ => "utf-16le",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_names() {
        assert_eq!(decode(b"\xEF\xBB\xBF\xC3\xA9t\xC3\xA9", "a", None).expect("UTF-8"), "été");
        assert_eq!(decode(b"\xFF\xFE\xE9\x00t\x00", "a", None).expect("UTF-16"), "ét");
        assert_eq!(decode(b"\xFE\xFF\x00\xE9\x00t", "a", None).expect("UTF-16"), "ét");
        let french = TextEncoding::named("windows-1252").expect("known");
        assert_eq!(decode(b"\xE9t\xE9", "a", Some(french)).expect("named"), "été");
        assert_eq!(decode("été".as_bytes(), "a", Some(french)).expect("UTF-8 stays UTF-8"), "été");
        let wide = TextEncoding::named("utf-16le").expect("known");
        assert_eq!(decode(b"a\x00b\x00", "a", Some(wide)).expect("named"), "ab");
        assert!(TextEncoding::named("klingon").expect_err("unknown").to_string().contains("klingon"));
    }

    #[test]
    fn the_first_bad_byte_is_named() {
        let message = |bytes: &[u8]| decode(bytes, "a.txt", None).expect_err("refused").to_string();
        let text = message(b"caf\xE9 noir");
        assert!(text.contains("0xE9 at offset 3") && text.contains("--encoding windows-1252"), "{text}");
        let text = message(b"\xEF\xBB\xBFcaf\xE9");
        assert!(text.contains("offset 6"), "{text}");
        let text = message(b"a\x00b\x00");
        assert!(text.contains("0x00 at offset 1") && text.contains("utf-16le"), "{text}");
    }
}
