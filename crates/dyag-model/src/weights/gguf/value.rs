//! Values of GGUF metadata.

use std::fmt;

use super::cursor::Cursor;
use crate::error::ModelError;

/// Deepest nesting of arrays that is read.
const MAX_DEPTH: usize = 4;

/// One metadata value. Arrays keep their elements together by kind: tokenizers have hundreds of thousands.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    /// Any of the integer types.
    Integer(i128),
    /// f32 or f64.
    Float(f64),
    Bool(bool),
    String(String),
    /// An array of any of the integer types, as far as they fit.
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    Bools(Vec<bool>),
    Strings(Vec<String>),
    Arrays(Vec<Value>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::String(value) => write!(f, "{value:?}"),
            Self::Integers(values) => write!(f, "an array of {} integers", values.len()),
            Self::Floats(values) => write!(f, "an array of {} numbers", values.len()),
            Self::Bools(values) => write!(f, "an array of {} booleans", values.len()),
            Self::Strings(values) => write!(f, "an array of {} strings", values.len()),
            Self::Arrays(values) => write!(f, "an array of {} arrays", values.len()),
        }
    }
}

/// The format's number of each value type.
#[derive(Clone, Copy)]
enum Kind {
    Integer { size: u8, signed: bool },
    F32,
    F64,
    Bool,
    String,
    Array,
}

impl Kind {
    fn read(cursor: &mut Cursor<'_>, what: &str) -> Result<Self, ModelError> {
        let number = cursor.u32(what)?;
        let integer = |size, signed| Ok(Self::Integer { size, signed });
        match number {
            0 => integer(1, false),
            1 => integer(1, true),
            2 => integer(2, false),
            3 => integer(2, true),
            4 => integer(4, false),
            5 => integer(4, true),
            6 => Ok(Self::F32),
            7 => Ok(Self::Bool),
            8 => Ok(Self::String),
            9 => Ok(Self::Array),
            10 => integer(8, false),
            11 => integer(8, true),
            12 => Ok(Self::F64),
            _ => Err(ModelError::malformed(cursor.path(), what, "a value type from 0 to 12", number.to_string())),
        }
    }

    /// Fewest bytes that a value of this kind takes.
    fn min_len(self) -> usize {
        match self {
            Self::Integer { size, .. } => usize::from(size),
            Self::F32 => 4,
            Self::F64 | Self::String => 8,
            Self::Bool => 1,
            Self::Array => 12,
        }
    }
}

/// Reads a value with the type before it; `what` names it in errors.
pub(super) fn read(cursor: &mut Cursor<'_>, what: &str) -> Result<Value, ModelError> {
    match Kind::read(cursor, what)? {
        Kind::Integer { size, signed } => read_integer(cursor, size, signed, what).map(Value::Integer),
        Kind::F32 => read_f32(cursor, what).map(Value::Float),
        Kind::F64 => cursor.array(what).map(|bytes| Value::Float(f64::from_le_bytes(bytes))),
        Kind::Bool => read_bool(cursor, what).map(Value::Bool),
        Kind::String => cursor.string(what).map(Value::String),
        Kind::Array => read_array(cursor, what, 1),
    }
}

fn read_array(cursor: &mut Cursor<'_>, what: &str, depth: usize) -> Result<Value, ModelError> {
    if depth > MAX_DEPTH {
        return Err(ModelError::malformed(cursor.path(), what, format!("arrays nested at most {MAX_DEPTH} deep"), "deeper ones"));
    }
    let kind = Kind::read(cursor, what)?;
    let count = cursor.count(kind.min_len(), what)?;
    Ok(match kind {
        Kind::Integer { size, signed } => Value::Integers(repeat(count, || {
            let value = read_integer(cursor, size, signed, what)?;
            i64::try_from(value).map_err(|_| ModelError::malformed(cursor.path(), what, "integers of 63 bits", value.to_string()))
        })?),
        Kind::F32 => Value::Floats(repeat(count, || read_f32(cursor, what))?),
        Kind::F64 => Value::Floats(repeat(count, || cursor.array(what).map(f64::from_le_bytes))?),
        Kind::Bool => Value::Bools(repeat(count, || read_bool(cursor, what))?),
        Kind::String => Value::Strings(repeat(count, || cursor.string(what))?),
        Kind::Array => Value::Arrays(repeat(count, || read_array(cursor, what, depth + 1))?),
    })
}

/// `count` results of `read`, or the first error. The count was checked against the file.
fn repeat<T>(count: usize, mut read: impl FnMut() -> Result<T, ModelError>) -> Result<Vec<T>, ModelError> {
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        values.push(read()?);
    }
    Ok(values)
}

fn read_integer(cursor: &mut Cursor<'_>, size: u8, signed: bool, what: &str) -> Result<i128, ModelError> {
    let bytes = cursor.take(u64::from(size), what)?;
    let mut wide = [0; 16];
    wide[..bytes.len()].copy_from_slice(bytes);
    let value = u128::from_le_bytes(wide) as i128;
    let bits = 8 * u32::from(size);
    let negative = signed && value >> (bits - 1) & 1 == 1;
    Ok(if negative { value - (1i128 << bits) } else { value })
}

fn read_f32(cursor: &mut Cursor<'_>, what: &str) -> Result<f64, ModelError> {
    cursor.array(what).map(|bytes| f64::from(f32::from_le_bytes(bytes)))
}

fn read_bool(cursor: &mut Cursor<'_>, what: &str) -> Result<bool, ModelError> {
    match cursor.array(what)? {
        [0] => Ok(false),
        [1] => Ok(true),
        [other] => Err(ModelError::malformed(cursor.path(), what, "a boolean of 0 or 1", other.to_string())),
    }
}
