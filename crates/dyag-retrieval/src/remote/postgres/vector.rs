//! pgvector's `vector` on the wire: two bytes of dimension, two of nothing, four for each number, all big-endian.

use std::error::Error;

use postgres::types::private::BytesMut;
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// A vector as a parameter or from a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Vector(pub(super) Vec<f32>);

impl ToSql for Vector {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&u16::try_from(self.0.len())?.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        self.0.iter().for_each(|value| out.extend_from_slice(&value.to_be_bytes()));
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        of.name() == "vector"
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Vector {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let (head, values) = raw.split_at_checked(4).ok_or("a vector of less than four bytes")?;
        let dimension = usize::from(u16::from_be_bytes([head[0], head[1]]));
        let (values, rest) = values.as_chunks::<4>();
        if values.len() != dimension || !rest.is_empty() {
            return Err(format!("a vector of {dimension} numbers in {} bytes", raw.len()).into());
        }
        Ok(Self(values.iter().map(|bytes| f32::from_be_bytes(*bytes)).collect()))
    }

    fn accepts(of: &Type) -> bool {
        of.name() == "vector"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_comes_back_and_other_bytes_are_refused() {
        let vector = Vector(vec![1.5, -0.0, f32::MIN_POSITIVE]);
        let mut bytes = BytesMut::new();
        assert!(matches!(vector.to_sql(&Type::BYTEA, &mut bytes), Ok(IsNull::No)));
        assert_eq!(Vector::from_sql(&Type::BYTEA, &bytes).expect("a vector"), vector);
        for cut in 0..bytes.len() {
            assert!(Vector::from_sql(&Type::BYTEA, &bytes[..cut]).is_err(), "{cut}");
        }
    }
}
