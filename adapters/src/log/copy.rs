//! Copies a ledger from one log into another, such as from the embedded log to Kafka, byte for byte: the hashes stay what they were.
//!
//! Partition by partition, in order. What the target already holds must be exactly how the source begins; then the copy goes on
//! behind it, so an interrupted copy is finished by starting it again. Offsets differ afterwards, sequences and hashes do not.
//!
//! Invariant: the copy is the writer of every partition of both logs before it looks at their ends, so nobody else can append in
//! between, and a server that still runs on the source acknowledges nothing that the copy would lack.

use std::collections::VecDeque;
use std::time::Duration;

use lotline_domain::chain::{Chain, ChainBreak};
use lotline_domain::id::TenantId;
use lotline_domain::port::{AppendError, EventLog, LogError, LogRead, LogReader};
use lotline_domain::record::{Offset, Record, StoredRecord};
use thiserror::Error;

/// How to copy.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// Most records in one append.
    pub batch_records: usize,
    /// Most bytes in one append, unless one record alone has more.
    pub batch_bytes: usize,
    /// How long to wait for the next record of a log that says it has more.
    pub patience: Duration,
    /// Check every hash and sequence of this tenant's ledger: of the source before it is copied, of the target when it is done.
    pub verify: Option<TenantId>,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self { batch_records: 500, batch_bytes: 4 << 20, patience: Duration::from_secs(30), verify: None }
    }
}

/// How far one partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The partition.
    pub partition: u32,
    /// Records appended by this run.
    pub copied: u64,
    /// Next offset in the source.
    pub next: Offset,
    /// End of the source when the copy began.
    pub end: Offset,
}

/// What a copy did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Records that the target already had.
    pub found: u64,
    /// Records appended.
    pub copied: u64,
}

/// Why a copy stopped. What has been copied stays and is good.
#[derive(Debug, Error)]
pub enum CopyError {
    /// A log failed.
    #[error("the copy can't go on")]
    Log(#[from] LogError),
    /// The target refused records.
    #[error("the target did not take the records; start the copy again to continue")]
    Append(#[from] AppendError),
    /// The target holds something that is not how the source begins.
    #[error(
        "partition {partition} of the target is not a copy: it differs from the source at offset {offset} of the target"
    )]
    Diverged {
        /// Partition.
        partition: u32,
        /// First offset in the target that does not fit.
        offset: Offset,
    },
    /// A log is not a sound ledger.
    #[error("the {side} is not a sound ledger")]
    Broken {
        /// `source` or `target`.
        side: &'static str,
        /// Where and why.
        #[source]
        cause: ChainBreak,
    },
    /// A log that says that it has more gave nothing for too long.
    #[error("{topic}/{partition} gave no record beyond offset {next}, though it ends at {end}")]
    Stalled {
        /// Topic.
        topic: String,
        /// Partition.
        partition: u32,
        /// Where it stalled.
        next: Offset,
        /// Where it should end.
        end: Offset,
    },
}

/// Appends to `to` all that `from` holds now and `to` lacks, telling `progress` after each batch.
///
/// # Errors
/// [`CopyError`]. Whoever writes to either log is fenced. Both logs must have the same number of partitions, since a key's partition depends on it.
pub async fn copy(
    from: &dyn EventLog,
    to: &dyn EventLog,
    options: &CopyOptions,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report, CopyError> {
    if from.partitions() != to.partitions() {
        let topic = to.topic().to_owned();
        return Err(LogError::PartitionCount { topic, expected: from.partitions(), actual: to.partitions() }.into());
    }
    let mut fences = Vec::new();
    for partition in 0..from.partitions() {
        fences.push(from.writer(partition).await?);
    }
    let mut report = Report::default();
    for partition in 0..from.partitions() {
        let done = copy_partition(from, to, partition, options, progress).await?;
        report.found += done.found;
        report.copied += done.copied;
    }
    drop(fences);
    Ok(report)
}

async fn copy_partition(
    from: &dyn EventLog,
    to: &dyn EventLog,
    partition: u32,
    options: &CopyOptions,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report, CopyError> {
    let mut writer = to.writer(partition).await?;
    let mut source = Side::open(from, partition, "source", options).await?;
    let found = skip_common(&mut source, to, partition, options).await?;
    let mut copied = 0;
    loop {
        let batch = source.batch(options).await?;
        if batch.is_empty() {
            break;
        }
        copied += batch.len() as u64;
        writer.append(batch).await?;
        progress(Progress { partition, copied, next: source.next, end: source.end });
    }
    if options.verify.is_some() && copied > 0 {
        let mut source = Side::open(from, partition, "source", options).await?;
        // The source may have grown since; the target has what was copied.
        skip_common(&mut source, to, partition, options).await?;
    }
    Ok(Report { found, copied })
}

/// Moves the source behind the records that the target has, which must be the same.
async fn skip_common(
    source: &mut Side<'_>,
    to: &dyn EventLog,
    partition: u32,
    options: &CopyOptions,
) -> Result<u64, CopyError> {
    let mut target = Side::open(to, partition, "target", options).await?;
    let mut same = 0;
    while let Some(theirs) = target.take().await? {
        let ours = source.take().await?;
        if ours.is_none_or(|ours| ours.record != theirs.record) {
            return Err(CopyError::Diverged { partition, offset: theirs.offset });
        }
        same += 1;
    }
    Ok(same)
}

/// One of the two logs, read up to where it ended when the copy began.
struct Side<'a> {
    topic: &'a str,
    partition: u32,
    name: &'static str,
    reader: Box<dyn LogReader>,
    ready: VecDeque<StoredRecord>,
    next: Offset,
    end: Offset,
    patience: Duration,
    chain: Option<(&'a TenantId, Chain)>,
}

impl<'a> Side<'a> {
    async fn open(
        log: &'a (impl LogRead + ?Sized),
        partition: u32,
        name: &'static str,
        options: &'a CopyOptions,
    ) -> Result<Self, CopyError> {
        let end = log.end(partition).await?;
        let reader = log.reader(partition, 0).await?;
        let chain = options.verify.as_ref().map(|tenant| (tenant, Chain::default()));
        let (topic, patience) = (log.topic(), options.patience);
        Ok(Self { topic, partition, name, reader, ready: VecDeque::new(), next: 0, end, patience, chain })
    }

    /// The next record, nothing at the end.
    async fn take(&mut self) -> Result<Option<StoredRecord>, CopyError> {
        self.fill().await?;
        let Some(stored) = self.ready.pop_front() else {
            return Ok(None);
        };
        if let Some((tenant, chain)) = &mut self.chain {
            chain.admit(tenant, &stored).map_err(|cause| CopyError::Broken { side: self.name, cause })?;
        }
        Ok(Some(stored))
    }

    async fn fill(&mut self) -> Result<(), CopyError> {
        while self.ready.is_empty() && self.next < self.end {
            let batch = self.reader.read(500, self.patience).await?;
            if batch.next <= self.next {
                let (topic, partition) = (self.topic.to_owned(), self.partition);
                return Err(CopyError::Stalled { topic, partition, next: self.next, end: self.end });
            }
            self.next = batch.next;
            let end = self.end;
            self.ready.extend(batch.records.into_iter().filter(|stored| stored.offset < end));
        }
        Ok(())
    }

    async fn batch(&mut self, options: &CopyOptions) -> Result<Vec<Record>, CopyError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < options.batch_records.max(1) && bytes < options.batch_bytes {
            let Some(stored) = self.take().await? else {
                break;
            };
            bytes += stored.record.size();
            batch.push(stored.record);
        }
        Ok(batch)
    }
}
