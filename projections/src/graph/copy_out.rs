//! Rows that come out of PostgreSQL in its binary COPY format; [`crate::copy`] draws it.

use lotline_domain::id::TenantId;
use thiserror::Error;
use uuid::Uuid;

use super::amount::Scaled;

const HEADER: usize = 19;
/// Bytes that have been read are thrown away when there are so many.
const USED_AT_MOST: usize = 1 << 20;

/// What came is not what was asked for.
#[derive(Debug, Error)]
#[error("PostgreSQL's COPY sent what can't be read: {0}")]
pub(crate) struct CopyError(&'static str);

/// Takes bytes as they come and gives rows of `N` fields.
pub(super) struct Decoder<const N: usize> {
    buffer: Vec<u8>,
    used: usize,
    begun: bool,
}

impl<const N: usize> Decoder<N> {
    pub(super) fn new() -> Self {
        Self { buffer: Vec::with_capacity(USED_AT_MOST * 2), used: 0, begun: false }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        if self.used >= USED_AT_MOST || self.used == self.buffer.len() {
            self.buffer.drain(..self.used);
            self.used = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next row; nothing when it has not come as a whole, or was the last one.
    pub(super) fn row(&mut self) -> Result<Option<[&[u8]; N]>, CopyError> {
        if !self.begun {
            if self.buffer.len() < HEADER {
                return Ok(None);
            }
            if !self.buffer.starts_with(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0") {
                return Err(CopyError("another header"));
            }
            (self.used, self.begun) = (HEADER, true);
        }
        let Some(count) = self.buffer[self.used..].first_chunk() else { return Ok(None) };
        match i16::from_be_bytes(*count) {
            -1 => return Ok(None),
            count if usize::try_from(count) == Ok(N) => {}
            _ => return Err(CopyError("another number of fields")),
        }
        let (mut at, mut spans) = (self.used + 2, [(0, 0); N]);
        for span in &mut spans {
            let Some(length) = self.buffer.get(at..).and_then(|rest| rest.first_chunk()) else { return Ok(None) };
            let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| CopyError("a NULL"))?;
            *span = (at + 4, at + 4 + length);
            at += 4 + length;
        }
        if at > self.buffer.len() {
            return Ok(None);
        }
        self.used = at;
        Ok(Some(spans.map(|(from, to)| &self.buffer[from..to])))
    }
}

pub(super) fn uuid(field: &[u8]) -> Result<Uuid, CopyError> {
    Uuid::from_slice(field).map_err(|_| CopyError("no UUID"))
}

pub(super) fn text(field: &[u8]) -> Result<&str, CopyError> {
    std::str::from_utf8(field).map_err(|_| CopyError("no UTF-8"))
}

/// A NUMERIC; nothing when it is not a positive number of at most 38 digits.
///
/// ```text
/// digits i16 | weight i16 | sign u16 | scale i16 | digits of base 10,000, each i16: Σ digit × 10000^(weight − place)
/// ```
pub(super) fn numeric(field: &[u8]) -> Result<Option<Scaled>, CopyError> {
    let mut words = field.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]]));
    let mut word = || words.next().ok_or(CopyError("a short NUMERIC"));
    let (count, weight, sign, _scale) = (word()?, word()?, word()?, word()?);
    if sign != 0 {
        return Ok(None);
    }
    let mut mantissa = 0_u128;
    for digit in words.by_ref().take(usize::try_from(count).unwrap_or(0)) {
        let digit = u128::try_from(digit).map_err(|_| CopyError("a negative digit"))?;
        let Some(more) = mantissa.checked_mul(10_000).and_then(|shifted| shifted.checked_add(digit)) else {
            return Ok(None);
        };
        mantissa = more;
    }
    let exponent = (i32::from(weight) - i32::from(count) + 1) * 4;
    if let Ok(zeros) = u32::try_from(exponent) {
        let whole = 10_u128.checked_pow(zeros).and_then(|factor| mantissa.checked_mul(factor));
        return Ok(whole.and_then(|whole| Scaled::new(whole, 0)));
    }
    Ok(Scaled::new(mantissa, exponent.unsigned_abs()))
}

/// A `COPY … TO STDOUT` of some columns of a tenant's rows of one generation. COPY takes no parameters.
pub(super) fn statement(table: &str, columns: &str, tenant: &TenantId, generation: i32) -> String {
    let tenant = tenant.as_str().replace('\'', "''");
    format!(
        "COPY (SELECT {columns} FROM {table} WHERE tenant = '{tenant}' AND generation = {generation}) TO STDOUT (FORMAT binary)"
    )
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;
    use sqlx::encode::Encode;
    use sqlx::postgres::PgArgumentBuffer;

    use super::*;

    /// As sqlx writes it, which PostgreSQL reads.
    fn written(value: Decimal) -> Vec<u8> {
        let mut buffer = PgArgumentBuffer::default();
        let _ = Encode::<sqlx::Postgres>::encode_by_ref(&value, &mut buffer).unwrap();
        buffer.to_vec()
    }

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for text in
            ["1", "0.5", "12.5", "10000", "120000", "0.0001", "0.00012", "453592369999.99954640763", "1000000000000"]
        {
            let value: Decimal = text.parse().unwrap();
            assert_eq!(numeric(&written(value)).unwrap(), Scaled::of(value), "{text}");
            assert!(Scaled::of(value).is_some());
        }
        for text in ["0", "-1.5"] {
            assert_eq!(numeric(&written(text.parse().unwrap())).unwrap(), None, "{text}");
        }
        assert!(numeric(&[0, 1]).is_err());
    }

    #[test]
    fn rows_may_come_in_any_pieces() {
        let mut whole = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        for row in [[b"ab".as_slice(), b""], [b"c", b"def"]] {
            whole.extend(2_i16.to_be_bytes());
            for field in row {
                whole.extend((field.len() as i32).to_be_bytes());
                whole.extend(field);
            }
        }
        whole.extend((-1_i16).to_be_bytes());
        for size in 1..whole.len() {
            let (mut decoder, mut rows) = (Decoder::<2>::new(), Vec::new());
            for piece in whole.chunks(size) {
                decoder.take(piece);
                while let Some([first, second]) = decoder.row().unwrap() {
                    rows.push((first.to_vec(), second.to_vec()));
                }
            }
            assert_eq!(rows, [(b"ab".to_vec(), vec![]), (b"c".to_vec(), b"def".to_vec())], "in pieces of {size}");
        }
        let mut decoder = Decoder::<3>::new();
        decoder.take(&whole);
        assert!(decoder.row().is_err(), "another number of fields");
    }
}
