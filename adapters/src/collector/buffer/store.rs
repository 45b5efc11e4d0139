//! The buffer's directory: segments, epoch, cursor. Plain blocking file I/O; [`super`] runs it on a thread of its own.
//!
//! ```text
//! <dir>/lock                        held while open: one process per buffer
//! <dir>/epoch                       UUID of this buffer's life
//! <dir>/cursor                      first sequence that is not acknowledged, with a checksum
//! <dir>/00000000000000000001.seg    see `segment`; named by the sequence of its first entry
//! ```
//!
//! Invariants: an entry is given out only after it has been fsynced, so no sequence that anybody has seen is ever used again ·
//! the newest segment is never deleted, so the next sequence survives an empty buffer · the cursor moves only on acknowledgement or
//! a counted drop · nothing that has been acknowledged waits for room on the disk before it is deleted. The cursor itself is not fsynced: one that a power failure loses only publishes some entries again.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use thiserror::Error;
use uuid::Uuid;

use super::recovery::{self, Tail};
use super::segment::{self, ENTRY_BYTES, Entry, Found, HEADER_BYTES};

const MIN_READ_BYTES: usize = 64 * 1024;
const MAX_READ_BYTES: usize = 4 * 1024 * 1024;

/// Where a buffer lies and how large it may grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// The directory; made when it is missing.
    pub dir: PathBuf,
    /// Cap on all segments together; beyond it the oldest segment is dropped and counted.
    pub max_bytes: u64,
    /// A segment is closed once it has reached this size.
    pub segment_bytes: u64,
}

/// Why a buffer can't be opened, written or read.
#[derive(Debug, Error)]
pub enum BufferError {
    /// Another process has it open.
    #[error("the buffer in {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// A file that should be the buffer's is something else.
    #[error("{} is not a file of this buffer; move it away", .0.display())]
    Foreign(PathBuf),
    /// The file system refused.
    #[error("the buffer failed to {action}")]
    Io {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Too many batches wait for the disk.
    #[error("the buffer's queue is full")]
    Full,
    /// The buffer's thread has ended.
    #[error("the buffer is closed")]
    Closed,
}

impl BufferError {
    pub(super) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }
}

#[derive(Debug)]
struct Segment {
    base: u64,
    bytes: u64,
    path: PathBuf,
}

/// An open buffer.
#[derive(Debug)]
pub struct Store {
    options: StoreOptions,
    epoch: Uuid,
    /// Oldest first; the last one takes the appends.
    segments: VecDeque<Segment>,
    active: File,
    /// A write or fsync of the active file failed: what the kernel holds of it can't be relied on, so the next append begins another.
    suspect: bool,
    next: u64,
    cursor: u64,
    reader: Option<Reader>,
    lost: u64,
    /// Held for its lock.
    _lock: File,
}

/// Where reading continues.
#[derive(Debug)]
struct Reader {
    base: u64,
    file: File,
    offset: u64,
    sequence: u64,
}

impl Store {
    /// Opens a buffer and cuts off what a crash left half-written. `fresh` becomes the epoch when the buffer is new.
    ///
    /// # Errors
    /// [`BufferError`].
    pub fn open(options: StoreOptions, fresh: Uuid) -> Result<Self, BufferError> {
        let recovered = recovery::recover(&options.dir, fresh)?;
        let mut segments: VecDeque<Segment> = VecDeque::new();
        for (base, path) in recovered.sealed {
            let bytes = fs::metadata(&path).map_err(BufferError::io("measure a segment"))?.len();
            segments.push_back(Segment { base, bytes, path });
        }
        let Tail { base, path, file, bytes, next } = recovered.tail;
        segments.push_back(Segment { base, bytes, path });
        let first = segments.front().map_or(base, |segment| segment.base);
        let cursor = recovered.cursor.unwrap_or(first).max(first);
        let mut store = Self {
            options,
            epoch: recovered.epoch,
            segments,
            active: file,
            suspect: false,
            next,
            cursor,
            reader: None,
            lost: 0,
            _lock: recovered.lock,
        };
        if store.cursor > store.next {
            // Acknowledged entries are gone from the disk. Their sequences have been seen and must not be used again.
            store.next = store.cursor;
            store.roll().map_err(BufferError::io("begin a segment"))?;
        }
        store.delete_acknowledged();
        Ok(store)
    }

    /// UUID of this buffer's life.
    pub fn epoch(&self) -> Uuid {
        self.epoch
    }

    /// Sequence of the next entry; all before it are on disk.
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// First sequence that is not acknowledged.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Size of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Entries lost since the opening without having been acknowledged: dropped at the cap, or damaged on disk.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Appends all payloads with consecutive sequences from [`Self::next_sequence`] and fsyncs, or appends none.
    ///
    /// # Errors
    /// The file system's; the same payloads may then be tried again.
    pub fn append(&mut self, payloads: &[impl AsRef<[u8]>]) -> io::Result<()> {
        if self.suspect || self.active_segment().bytes >= self.options.segment_bytes {
            self.roll()?;
        }
        let mut bytes = Vec::new();
        for (sequence, payload) in (self.next..).zip(payloads) {
            segment::put_entry(&mut bytes, sequence, payload.as_ref());
        }
        let offset = self.active_segment().bytes;
        if let Err(error) = self.active.write_all_at(&bytes, offset).and_then(|()| self.active.sync_data()) {
            self.suspect = true;
            // On a full disk what was written in vain may hold the last of the room. If this fails too, reading stops before it all the same.
            let _ = self.active.set_len(offset);
            return Err(error);
        }
        self.active_segment().bytes += bytes.len() as u64;
        self.next += payloads.len() as u64;
        self.drop_beyond_cap();
        Ok(())
    }

    /// Gives the entries after those given before: at most `max_entries`, and about `max_bytes`, but at least one if there is one.
    ///
    /// # Errors
    /// The file system's; reading then continues at the same entry.
    pub fn read(&mut self, max_entries: usize, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        while entries.len() < max_entries && bytes < max_bytes && self.read_position() < self.next {
            match self.read_chunk((max_entries - entries.len(), max_bytes - bytes)) {
                Ok(chunk) => {
                    bytes += chunk.iter().map(|entry| entry.payload.len()).sum::<usize>();
                    entries.extend(chunk);
                }
                // What has been read is given out first; the error comes again with the next call.
                Err(_) if !entries.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    /// Everything before `next` has arrived where it belongs.
    ///
    /// # Errors
    /// The file system's; the entries may then be given out again after a restart.
    pub fn acknowledge(&mut self, next: u64) -> io::Result<()> {
        if next <= self.cursor {
            return Ok(());
        }
        self.cursor = next.min(self.next);
        // First, for on a full disk this makes the room that the cursor needs. The cursor is never before the oldest segment, so a crash in
        // between loses nothing.
        self.delete_acknowledged();
        recovery::write_cursor(&self.options.dir, self.epoch, self.cursor)
    }

    fn active_segment(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("invariant: there is always a newest segment")
    }

    fn roll(&mut self) -> io::Result<()> {
        let (file, path) = recovery::create_segment(&self.options.dir, self.epoch, self.next)?;
        let (base, bytes) = (self.next, HEADER_BYTES as u64);
        // A segment without entries has the same name as its successor, which has just replaced it.
        if self.segments.back().is_some_and(|last| last.base == base) {
            self.segments.pop_back();
            self.reader = None;
        }
        self.segments.push_back(Segment { base, bytes, path });
        self.active = file;
        self.suspect = false;
        Ok(())
    }

    fn read_position(&self) -> u64 {
        self.reader.as_ref().map_or(self.cursor, |reader| reader.sequence)
    }

    fn read_chunk(&mut self, max: (usize, usize)) -> io::Result<Vec<Entry>> {
        let position = self.read_position();
        let place = self.segments.partition_point(|segment| segment.base <= position).saturating_sub(1);
        let segment = &self.segments[place];
        let end = self.segments.get(place + 1).map_or(self.next, |following| following.base);
        // Until it is put back, an error makes reading start over at the cursor: twice is allowed, never is not.
        let mut reader = match self.reader.take().filter(|reader| reader.base == segment.base) {
            Some(reader) => reader,
            None => Reader::open(segment)?,
        };
        let (entries, damaged) = reader.take(position, end, segment.bytes, max)?;
        if damaged {
            let lost = end - reader.sequence.max(position);
            tracing::error!(path = %segment.path.display(), lost, "the buffer is damaged; batches are lost");
            self.lost += lost;
            reader.sequence = end;
            reader.offset = segment.bytes;
        }
        self.reader = Some(reader);
        Ok(entries)
    }

    fn delete_acknowledged(&mut self) {
        while self.segments.len() > 1 && self.segments[1].base <= self.cursor {
            self.delete_oldest();
        }
    }

    fn drop_beyond_cap(&mut self) {
        while self.segments.len() > 1 && self.bytes() > self.options.max_bytes {
            let end = self.segments[1].base;
            self.lost += end.saturating_sub(self.cursor);
            self.cursor = self.cursor.max(end);
            self.delete_oldest();
        }
        if self.reader.as_ref().is_some_and(|reader| reader.sequence < self.cursor) {
            self.reader = None;
        }
    }

    fn delete_oldest(&mut self) {
        if let Some(oldest) = self.segments.pop_front()
            && let Err(error) = fs::remove_file(&oldest.path)
        {
            tracing::warn!(path = %oldest.path.display(), %error, "a finished segment of the buffer could not be deleted");
        }
    }
}

impl Reader {
    fn open(segment: &Segment) -> io::Result<Self> {
        let file = File::open(&segment.path)?;
        Ok(Self { base: segment.base, file, offset: HEADER_BYTES as u64, sequence: segment.base })
    }

    /// Reads on until `end`, gives entries from `from` on, and says whether it met damage. Gives at least one entry if there is
    /// one, and stops at the end of a chunk once it has some.
    fn take(&mut self, from: u64, end: u64, file_end: u64, max: (usize, usize)) -> io::Result<(Vec<Entry>, bool)> {
        let (max_entries, max_bytes) = max;
        let mut entries = Vec::new();
        let mut want = max_bytes.clamp(MIN_READ_BYTES, MAX_READ_BYTES);
        while entries.is_empty() && self.sequence < end {
            let left = usize::try_from(file_end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
            let mut buffer = vec![0; want.min(left)];
            self.file.read_exact_at(&mut buffer, self.offset)?;
            let buffer = Bytes::from(buffer);
            let mut at = 0;
            while self.sequence < end && entries.len() < max_entries && (at < max_bytes || entries.is_empty()) {
                match segment::find_entry(&buffer[at..], self.sequence) {
                    Found::Entry(total) => {
                        if self.sequence >= from {
                            let payload = buffer.slice(at + ENTRY_BYTES..at + total);
                            entries.push(Entry { sequence: self.sequence, payload });
                        }
                        at += total;
                        self.offset += total as u64;
                        self.sequence += 1;
                    }
                    Found::Needs(needed) if needed <= left - at => {
                        want = want.max(needed);
                        break;
                    }
                    Found::Needs(_) | Found::Invalid => return Ok((entries, true)),
                }
            }
        }
        Ok((entries, false))
    }
}

/// Fsyncs a directory, so that a created or renamed file keeps its name through a power failure.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    OpenOptions::new().read(true).open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
