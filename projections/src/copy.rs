//! Rows in PostgreSQL's binary COPY format: the fastest way in for many wide rows.
//!
//! ```text
//! "PGCOPY\n" 0xFF "\r\n" 0x00 | flags u32 = 0 | extension length u32 = 0
//! for each row:   number of fields i16 | for each field: length i32 (-1 for NULL), value
//! at the end:     -1 i16
//! ```
//! (PostgreSQL documentation, COPY, "Binary Format".) Values are encoded by sqlx as for any other query. The columns are not checked at
//! compile time; the server checks the number of fields and the form of each.
//!
//! Whoever drops a COPY half-way leaves the connection out of step, so it must then not go back to the pool.

use sqlx::PgConnection;
use sqlx::encode::{Encode, IsNull};
use sqlx::postgres::{PgArgumentBuffer, Postgres};

use crate::failure::ApplyError;

/// Fewer rows than this go in as arrays, in one round trip: sqlx 0.9 leaves Nagle's algorithm on, and the end of a COPY, a small packet
/// of its own, then waits up to 40 ms for the delayed acknowledgement of the data before it (measured: 45 ms a batch, against 5 ms).
pub(crate) const COPY_FROM: usize = 500;

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Rows to be copied into one table.
pub(crate) struct Rows {
    buffer: PgArgumentBuffer,
    fields: i16,
}

impl Rows {
    /// An empty set of rows with so many fields each.
    pub(crate) fn new(fields: i16) -> Self {
        let mut buffer = PgArgumentBuffer::default();
        buffer.extend_from_slice(HEADER);
        Self { buffer, fields }
    }

    /// Begins a row. Exactly as many fields as announced must follow.
    pub(crate) fn row(&mut self) -> &mut Self {
        self.buffer.extend_from_slice(&self.fields.to_be_bytes());
        self
    }

    /// Adds a field of the type that the column has.
    ///
    /// # Errors
    /// A value that its type can't hold.
    pub(crate) fn field<'q>(&mut self, value: impl Encode<'q, Postgres>) -> Result<&mut Self, ApplyError> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 4]);
        let null = value.encode_by_ref(&mut self.buffer).map_err(sqlx::Error::Encode)?;
        let length = match null {
            IsNull::Yes => -1,
            IsNull::No => i32::try_from(self.buffer.len() - start - 4)
                .map_err(|_| ApplyError::Inconsistent("a field is larger than 2 GiB".to_owned()))?,
        };
        self.buffer[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(self)
    }

    /// Sends the rows. `statement` is a `COPY … FROM STDIN BINARY` that names every column.
    ///
    /// # Errors
    /// Whatever an INSERT of the rows would give.
    pub(crate) async fn send(mut self, db: &mut PgConnection, statement: &'static str) -> Result<(), ApplyError> {
        self.buffer.extend_from_slice(&(-1_i16).to_be_bytes());
        let mut copy = db.copy_in_raw(statement).await?;
        copy.send(self.buffer.as_slice()).await?;
        copy.finish().await?;
        Ok(())
    }
}
