//! `lotline log copy`: from a log in memory into the store, and back.

use lotline_adapters::log::memory::MemoryLog;
use lotline_adapters::log::{CopyError, CopyOptions, Report, copy};
use lotline_domain::port::{EventLog, LogRead};
use lotline_domain::record::Record;

use super::{Sealer, Subject, ledger, plain, read_all, tenant};

fn options() -> CopyOptions {
    CopyOptions { batch_records: 7, verify: Some(tenant()), ..CopyOptions::default() }
}

async fn source() -> MemoryLog {
    let log = MemoryLog::new("source", 2);
    for (partition, site) in [(0, "north"), (1, "south")] {
        log.writer(partition).await.unwrap().append(Sealer::new(site).seal_many(20)).await.unwrap();
    }
    log
}

async fn content(log: &(impl LogRead + ?Sized)) -> Vec<Vec<Record>> {
    let mut partitions = Vec::new();
    for partition in 0..log.partitions() {
        partitions.push(read_all(log, partition).await.into_iter().map(|stored| stored.record).collect());
    }
    partitions
}

/// There and back again: every byte is the same, so every hash is.
pub async fn a_copy_has_the_same_bytes(subject: &dyn Subject) {
    let (source, store, back) = (source().await, ledger(subject, 2).await, MemoryLog::new("back", 2));
    let mut told = Vec::new();
    let report = copy(&source, store.as_ref(), &options(), &mut |progress| told.push(progress)).await.unwrap();
    assert_eq!(report, Report { found: 0, copied: 40 });
    assert_eq!(told.last().map(|progress| (progress.partition, progress.copied)), Some((1, 20)));
    assert!(told.last().is_some_and(|progress| progress.next == progress.end));
    copy(store.as_ref(), &back, &options(), &mut |_| ()).await.unwrap();
    let expected = content(&source).await;
    assert_eq!(expected[0].len() + expected[1].len(), 40);
    assert_eq!(content(store.as_ref()).await, expected);
    assert_eq!(content(&back).await, expected);
}

/// A target that is a prefix gets the rest; a second run finds nothing to do.
pub async fn an_interrupted_copy_goes_on(subject: &dyn Subject) {
    let (source, store) = (source().await, ledger(subject, 2).await);
    let begun: Vec<_> = content(&source).await[0][..9].to_vec();
    store.writer(0).await.unwrap().append(begun).await.unwrap();
    let report = copy(&source, store.as_ref(), &options(), &mut |_| ()).await.unwrap();
    assert_eq!(report, Report { found: 9, copied: 31 });
    let report = copy(&source, store.as_ref(), &options(), &mut |_| ()).await.unwrap();
    assert_eq!(report, Report { found: 40, copied: 0 });
    assert_eq!(content(store.as_ref()).await, content(&source).await);
}

/// Content that is not how the source begins is left alone: another record, or more than the source has.
pub async fn a_target_with_other_content_is_refused(subject: &dyn Subject) {
    let (source, store) = (source().await, ledger(subject, 2).await);
    let mut other = Sealer::new("north");
    let last = store.writer(0).await.unwrap().append(vec![other.seal("{}")]).await.unwrap();
    let refused = copy(&source, store.as_ref(), &options(), &mut |_| ()).await;
    assert!(matches!(refused, Err(CopyError::Diverged { partition: 0, offset }) if offset == last), "{refused:?}");
    let longer = copy(&MemoryLog::new("empty", 2), store.as_ref(), &options(), &mut |_| ()).await;
    assert!(matches!(longer, Err(CopyError::Diverged { partition: 0, .. })), "{longer:?}");
    assert_eq!(read_all(store.as_ref(), 0).await.len(), 1);
    let fewer = copy(&MemoryLog::new("fewer", 1), store.as_ref(), &options(), &mut |_| ()).await;
    assert!(matches!(fewer, Err(CopyError::Log(_))), "{fewer:?}");
}

/// A source with a break in its chain is copied up to the break at most.
pub async fn a_broken_source_is_not_copied(subject: &dyn Subject) {
    let (source, store) = (source().await, ledger(subject, 2).await);
    source.append_foreign(0, plain("{}")).unwrap();
    let refused = copy(&source, store.as_ref(), &options(), &mut |_| ()).await;
    assert!(matches!(refused, Err(CopyError::Broken { side: "source", .. })), "{refused:?}");
    assert!(read_all(store.as_ref(), 0).await.len() <= 20);
}
