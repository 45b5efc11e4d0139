//! What fuzzing has found, kept for good.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use lotline_api::schema::{audit, signal};
use lotline_domain::envelope::{Envelope, EnvelopeError, HEADERS};
use lotline_domain::id::TenantId;
use lotline_tests::fuzz;

use crate::seeds;

/// A site in a cursor was taken as it came, and PostgreSQL refuses a text with NUL in it: the client's mistake was answered as a failure of the server.
#[test]
fn a_cursor_with_nul_is_no_cursor() {
    fuzz::cursor(BASE64_URL_SAFE_NO_PAD.encode("nor\0th:17").as_bytes());
    fuzz::global_id(BASE64_URL_SAFE_NO_PAD.encode("signal:nor\0th:17").as_bytes());
    assert!(signal::read_key("nor\0th:17").is_none());
}

/// Nanoseconds, which no cursor of ours has, were taken and forgotten: two cursors for one place.
#[test]
fn a_cursor_finer_than_the_log_is_no_cursor() {
    let input = "MjAyNi0xMS0yMVQwMzoxNTowMC44Nzk2MDkzMDIyMjA4Wi8zLzk5OTk";
    fuzz::cursor(input.as_bytes());
    assert!(audit::read_key("2026-11-21T03:15:00.879609302Z/3/9999").is_none());
    assert!(audit::read_key("2026-11-21T03:15:00.879609Z/3/9999").is_some());
}

/// The same in `ce_time`: an event that Lotline would not have written was read as one that it would.
#[test]
fn a_time_finer_than_the_logs_is_no_time_of_an_event() {
    let mut record = fuzz::record(&seeds::of("envelope")[0].inner).unwrap();
    let place = record.headers.iter().position(|header| header.name == "ce_time").unwrap();
    for time in ["2026-09-21T14:13:20.134217728Z", "2026-09-21T14:13:20Z", "2026-09-21T16:13:20.000000+02:00"] {
        record.headers[place].value = time.into();
        fuzz::envelope(&fuzz::record_text(&record));
        let last = record.headers.len() - 1;
        record.headers[last].value = fuzz::fitting_hash(&record).into();
        let refused = Envelope::from_record(&TenantId::new(fuzz::TENANT).unwrap(), &record);
        assert_eq!(refused, Err(EnvelopeError::InvalidHeader(HEADERS[6])), "{time}");
    }
}
