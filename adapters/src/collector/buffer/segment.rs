//! One file of the buffer: a header, then entries end to end.
//!
//! ```text
//! header  "LOTLBUF1"  epoch(16)  base(u64)  crc32c(u32) of the 32 bytes before
//! entry   len(u32)  crc32c(u32)  sequence(u64)  payload(len)
//! ```
//!
//! All integers are big-endian. An entry's checksum covers length, sequence and payload, and its sequence must be the one after the
//! entry before it: so neither zeros, nor a torn write, nor an old entry in recycled blocks passes for an entry.

use bytes::{BufMut, Bytes};
use uuid::Uuid;

/// Bytes of a segment's header.
pub const HEADER_BYTES: usize = 36;
/// Bytes of an entry around its payload.
pub const ENTRY_BYTES: usize = 16;
/// Longest payload; a length beyond it is no entry.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024 * 1024;

const MAGIC: &[u8; 8] = b"LOTLBUF1";

/// A buffered payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Dense within the epoch, from 1.
    pub sequence: u64,
    /// As appended.
    pub payload: Bytes,
}

/// What stands at a place in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// An entry with this many bytes in all.
    Entry(usize),
    /// Perhaps an entry, but only with this many bytes in sight can that be told.
    Needs(usize),
    /// Not the entry with that sequence.
    Invalid,
}

/// The header of a segment whose first entry is `base`.
pub fn header(epoch: Uuid, base: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..24].copy_from_slice(epoch.as_bytes());
    bytes[24..32].copy_from_slice(&base.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[..32]);
    bytes[32..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Reads a header: epoch and base.
pub fn parse_header(bytes: &[u8]) -> Option<(Uuid, u64)> {
    let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
    let epoch = Uuid::from_slice(&bytes[8..24]).ok()?;
    let base = u64::from_be_bytes(bytes[24..32].try_into().ok()?);
    (*bytes == header(epoch, base)).then_some((epoch, base))
}

/// Adds an entry to `into`.
///
/// Invariant: `payload` is at most [`MAX_PAYLOAD_BYTES`] long.
pub fn put_entry(into: &mut Vec<u8>, sequence: u64, payload: &[u8]) {
    into.put_u32(payload.len() as u32);
    into.put_u32(checksum(payload.len() as u32, sequence, payload));
    into.put_u64(sequence);
    into.put_slice(payload);
}

/// Looks for the entry with `sequence` at the beginning of `bytes`.
pub fn find_entry(bytes: &[u8], sequence: u64) -> Found {
    if bytes.len() < ENTRY_BYTES {
        return Found::Needs(ENTRY_BYTES);
    }
    let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let len = word(0) as usize;
    let found = (u64::from(word(8)) << 32) | u64::from(word(12));
    if len > MAX_PAYLOAD_BYTES || found != sequence {
        return Found::Invalid;
    }
    let total = ENTRY_BYTES + len;
    if bytes.len() < total {
        return Found::Needs(total);
    }
    let matches = word(4) == checksum(len as u32, sequence, &bytes[ENTRY_BYTES..total]);
    if matches { Found::Entry(total) } else { Found::Invalid }
}

fn checksum(len: u32, sequence: u64, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&len.to_be_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &sequence.to_be_bytes()), payload)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_reads_back_and_no_changed_byte_passes() {
        let good = header(Uuid::from_u128(5), 77);
        assert_eq!(parse_header(&good), Some((Uuid::from_u128(5), 77)));
        for at in 0..HEADER_BYTES {
            let mut bad = good;
            bad[at] ^= 1;
            assert_eq!(parse_header(&bad), None, "byte {at}");
            assert_eq!(parse_header(&good[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn zeros_are_no_entry() {
        assert_eq!(find_entry(&[0; 64], 0), Found::Invalid);
        assert_eq!(find_entry(&[0; 64], 1), Found::Invalid);
    }

    proptest! {
        #[test]
        fn only_the_whole_unchanged_entry_is_found(
            payload in prop::collection::vec(any::<u8>(), 0..60),
            sequence: u64,
            flip in any::<prop::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            put_entry(&mut bytes, sequence, &payload);
            prop_assert_eq!(find_entry(&bytes, sequence), Found::Entry(bytes.len()));
            prop_assert_eq!(find_entry(&bytes, sequence.wrapping_add(1)), Found::Invalid);
            for cut in 0..bytes.len() {
                prop_assert!(matches!(find_entry(&bytes[..cut], sequence), Found::Needs(needed) if needed > cut));
            }
            let at = flip.index(bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            prop_assert!(!matches!(find_entry(&bytes, sequence), Found::Entry(_)));
        }
    }
}
