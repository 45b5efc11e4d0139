//! Standard output: one way to write to it, so that a reader who has seen enough (`lotline log tail | head`) ends the command quietly.

use std::io::{ErrorKind, Write};

use thiserror::Error;

/// Why nothing more can be printed.
#[derive(Debug, Error)]
pub enum OutputError {
    /// Whoever read it has closed it. Not worth a complaint: [`is_closed`].
    #[error("standard output is closed")]
    Closed,
    /// A full disk, for example.
    #[error("standard output can't be written")]
    Broken(#[source] std::io::Error),
}

/// Prints a text as it is, at once: buffered lines would be lost with the process.
///
/// # Errors
/// [`OutputError`].
pub fn print(text: &str) -> Result<(), OutputError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => OutputError::Closed,
        _ => OutputError::Broken(error),
    })
}

/// Prints a line.
///
/// # Errors
/// [`OutputError`].
pub fn say(line: &str) -> Result<(), OutputError> {
    print(&format!("{line}\n"))
}

/// Whether a command has ended only because nobody reads any more.
pub fn is_closed(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<OutputError>(), Some(OutputError::Closed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_who_has_gone_is_no_failure() {
        let closed = anyhow::Error::new(OutputError::Closed).context("while printing");
        assert!(is_closed(&closed));
        let full = OutputError::Broken(std::io::Error::from(ErrorKind::StorageFull));
        assert!(!is_closed(&full.into()));
        // A connection to PostgreSQL can break like a pipe; that is a failure.
        assert!(!is_closed(&std::io::Error::from(ErrorKind::BrokenPipe).into()));
    }
}
