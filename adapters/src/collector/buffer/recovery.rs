//! Opening the buffer's directory: what is there, what a crash left, and how files come into being so that no crash confuses.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::segment::{self, Found, HEADER_BYTES};
use super::store::{BufferError, sync_dir};

/// What an opened directory holds.
#[derive(Debug)]
pub struct Recovered {
    /// Held for its lock.
    pub lock: File,
    /// UUID of the buffer's life.
    pub epoch: Uuid,
    /// First sequence that is not acknowledged, when the cursor file is there and whole.
    pub cursor: Option<u64>,
    /// Base and path of every segment but the newest, oldest first.
    pub sealed: Vec<(u64, PathBuf)>,
    /// The newest segment, cut after its last whole entry.
    pub tail: Tail,
}

/// The segment that takes the appends.
#[derive(Debug)]
pub struct Tail {
    /// Sequence of its first entry.
    pub base: u64,
    /// Its path.
    pub path: PathBuf,
    /// Open for reading and writing.
    pub file: File,
    /// Its length.
    pub bytes: u64,
    /// Sequence of the next entry.
    pub next: u64,
}

/// Opens the directory, making it and an epoch when they are missing.
///
/// # Errors
/// [`BufferError`].
pub fn recover(dir: &Path, fresh: Uuid) -> Result<Recovered, BufferError> {
    fs::create_dir_all(dir).map_err(BufferError::io("create its directory"))?;
    let lock = lock(dir)?;
    let mut sealed = segments(dir).map_err(BufferError::io("list its directory"))?;
    let epoch = epoch(dir, fresh, sealed.is_empty())?;
    let cursor = read_cursor(dir, epoch);
    for (base, path) in &sealed {
        let mut header = [0; HEADER_BYTES];
        let whole = File::open(path).and_then(|file| file.read_exact_at(&mut header, 0)).is_ok();
        if whole && segment::parse_header(&header).is_some_and(|found| found != (epoch, *base)) {
            return Err(BufferError::Foreign(path.clone()));
        }
    }
    let tail = match sealed.pop() {
        Some((base, path)) => recover_tail(dir, epoch, base, path),
        None => begin(dir, epoch, cursor.unwrap_or(1)),
    };
    let tail = tail.map_err(BufferError::io("recover its newest segment"))?;
    Ok(Recovered { lock, epoch, cursor, sealed, tail })
}

/// Begins a segment; one with the same base is replaced.
///
/// # Errors
/// The file system's.
pub fn create_segment(dir: &Path, epoch: Uuid, base: u64) -> io::Result<(File, PathBuf)> {
    let path = dir.join(format!("{base:020}.seg"));
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    file.write_all_at(&segment::header(epoch, base), 0)?;
    file.sync_all()?;
    sync_dir(dir)?;
    Ok((file, path))
}

/// Replaces the cursor file.
///
/// # Errors
/// The file system's; the old cursor is then still there.
pub fn write_cursor(dir: &Path, epoch: Uuid, cursor: u64) -> io::Result<()> {
    let new = dir.join("cursor.new");
    fs::write(&new, format!("{cursor} {:08x}\n", cursor_checksum(epoch, cursor)))?;
    fs::rename(new, dir.join("cursor"))
}

fn read_cursor(dir: &Path, epoch: Uuid) -> Option<u64> {
    let text = fs::read_to_string(dir.join("cursor")).ok()?;
    let (cursor, checksum) = text.strip_suffix('\n')?.split_once(' ')?;
    let cursor = cursor.parse().ok()?;
    (u32::from_str_radix(checksum, 16).ok()? == cursor_checksum(epoch, cursor)).then_some(cursor)
}

fn cursor_checksum(epoch: Uuid, cursor: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(epoch.as_bytes()), &cursor.to_be_bytes())
}

fn lock(dir: &Path) -> Result<File, BufferError> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(dir.join("lock"));
    let file = opened.map_err(BufferError::io("open its lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BufferError::InUse(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(BufferError::Io { action: "take its lock", source }),
    }
}

/// The epoch stands on disk before the first segment does, so segments without one are not ours.
fn epoch(dir: &Path, fresh: Uuid, is_new: bool) -> Result<Uuid, BufferError> {
    let path = dir.join("epoch");
    match fs::read_to_string(&path) {
        Ok(text) => Uuid::parse_str(text.trim()).map_err(|_| BufferError::Foreign(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_new => {
            write_epoch(dir, &path, fresh).map_err(BufferError::io("record its epoch"))?;
            Ok(fresh)
        }
        Err(source) => Err(BufferError::Io { action: "read its epoch", source }),
    }
}

fn write_epoch(dir: &Path, path: &Path, epoch: Uuid) -> io::Result<()> {
    let new = dir.join("epoch.new");
    let mut file = File::create(&new)?;
    writeln!(file, "{epoch}")?;
    file.sync_all()?;
    fs::rename(new, path)?;
    sync_dir(dir)
}

fn segments(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for file in fs::read_dir(dir)? {
        let path = file?.path();
        let base = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".seg"));
        if let Some(base) = base.and_then(|base| base.parse().ok()) {
            found.push((base, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn begin(dir: &Path, epoch: Uuid, base: u64) -> io::Result<Tail> {
    let (file, path) = create_segment(dir, epoch, base)?;
    Ok(Tail { base, path, file, bytes: HEADER_BYTES as u64, next: base })
}

fn recover_tail(dir: &Path, epoch: Uuid, base: u64, path: PathBuf) -> io::Result<Tail> {
    let contents = fs::read(&path)?;
    if segment::parse_header(&contents).is_none() {
        // The header is fsynced before the first entry is written: without it there is no entry to lose.
        return begin(dir, epoch, base);
    }
    let (mut at, mut next) = (HEADER_BYTES, base);
    while let Found::Entry(total) = segment::find_entry(&contents[at..], next) {
        at += total;
        next += 1;
    }
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    if at < contents.len() {
        tracing::warn!(path = %path.display(), bytes = contents.len() - at, "cut a torn tail off the buffer");
        file.set_len(at as u64)?;
        file.sync_all()?;
    }
    Ok(Tail { base, path, file, bytes: at as u64, next })
}
