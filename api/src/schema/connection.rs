//! Pages of lists: Relay cursor connections, forward only, with keyset cursors.

use async_graphql::Error;
use async_graphql::connection::{Connection, CursorType, Edge};
use async_graphql::{OutputType, connection::EmptyFields};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::failure::bad_input;

/// Most rows of a page.
pub const MAX_PAGE: i32 = 100;

/// A key of a list, opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// Wraps a key's text.
    pub fn new(key: &impl ToString) -> Self {
        Self(key.to_string())
    }
}

impl CursorType for Cursor {
    type Error = &'static str;

    fn decode_cursor(text: &str) -> Result<Self, Self::Error> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| "malformed")?;
        String::from_utf8(bytes).map(Self).map_err(|_| "malformed")
    }

    fn encode_cursor(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(&self.0)
    }
}

/// The cursor given as `after`, as the list's own key.
///
/// # Errors
/// `BAD_USER_INPUT`.
pub fn after<K>(given: Option<&str>, parse: impl FnOnce(&str) -> Option<K>) -> Result<Option<K>, Error> {
    let Some(given) = given else { return Ok(None) };
    let key = Cursor::decode_cursor(given).ok().and_then(|Cursor(text)| parse(&text));
    key.map(Some).ok_or_else(|| bad_input("'after' is not a cursor of this list"))
}

/// Rows of a page, checked.
///
/// # Errors
/// `BAD_USER_INPUT` unless 1 to 100.
pub fn size(first: i32) -> Result<u32, Error> {
    match u32::try_from(first) {
        Ok(rows @ 1..) if first <= MAX_PAGE => Ok(rows),
        _ => Err(bad_input(format!("'first' must be 1 to {MAX_PAGE}, not {first}"))),
    }
}

/// Makes a page of rows that were asked for as one more than its size, which tells whether there is a next page.
pub fn connection<R, N: OutputType>(
    rows: Vec<R>,
    size: u32,
    has_previous: bool,
    cursor: impl Fn(&R) -> Cursor,
    node: impl Fn(R) -> N,
) -> Connection<Cursor, N, EmptyFields, EmptyFields> {
    let mut connection = Connection::new(has_previous, rows.len() > size as usize);
    let edges = rows.into_iter().take(size as usize).map(|row| Edge::new(cursor(&row), node(row)));
    connection.edges.extend(edges);
    connection
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_1_to_100_rows() {
        assert_eq!(size(1).unwrap(), 1);
        assert_eq!(size(100).unwrap(), 100);
        for bad in [0, -1, 101, i32::MAX, i32::MIN] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cursors_round_trip_and_nonsense_is_refused() {
        let text = Cursor::new(&17).encode_cursor();
        let parse = |text: &str| text.parse::<u32>().ok();
        assert_eq!(after(Some(&text), parse).unwrap(), Some(17));
        assert_eq!(after(None, parse).unwrap(), None);
        assert!(after(Some("???"), parse).is_err());
        assert!(after(Some(&Cursor::new(&"x").encode_cursor()), parse).is_err());
    }

    #[test]
    fn one_row_more_tells_of_a_next_page() {
        let page = connection(vec![1, 2, 3], 2, false, Cursor::new, |row| row);
        assert_eq!((page.edges.len(), page.has_next_page), (2, true));
        let page = connection(vec![1, 2], 2, true, Cursor::new, |row| row);
        assert_eq!((page.edges.len(), page.has_next_page, page.has_previous_page), (2, false, true));
    }
}
