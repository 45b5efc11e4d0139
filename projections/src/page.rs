//! Paging by key: a page starts after a row that the caller has, never at a count, so rows that arrive meanwhile shift nothing.

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<K> {
    /// Most rows to give. To learn whether there are more, ask for one more than is shown.
    pub first: u32,
    /// Key of the last row that the caller has; nothing at the start.
    pub after: Option<K>,
}

/// Most rows that one query gives, whatever is asked.
pub const MAX_ROWS: u32 = 10_000;

impl<K> Page<K> {
    /// The start of a list.
    pub fn first(first: u32) -> Self {
        Self { first, after: None }
    }

    pub(crate) fn limit(&self) -> i64 {
        limit(self.first)
    }
}

/// A number of rows as PostgreSQL wants it.
pub(crate) fn limit(rows: u32) -> i64 {
    i64::from(rows.min(MAX_ROWS))
}
