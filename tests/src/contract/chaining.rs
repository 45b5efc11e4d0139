//! Real envelopes through the log and back: the chain holds, and whatever is not Lotline's own is found.

use lotline_domain::chain::{BreakCause, Chain, ChainBreak};

use super::{Sealer, Subject, ledger, plain, read_all, tenant};

async fn follow(subject: &dyn Subject) -> (Chain, Option<ChainBreak>) {
    let log = ledger(subject, 1).await;
    let mut chain = Chain::default();
    for stored in read_all(log.as_ref(), 0).await {
        if let Err(broken) = chain.admit(&tenant(), &stored) {
            return (chain, Some(broken));
        }
    }
    (chain, None)
}

/// Two interleaved streams, each with its own chain.
pub async fn sealed_events_form_a_chain(subject: &dyn Subject) {
    let log = ledger(subject, 1).await;
    let (mut north, mut south) = (Sealer::new("north"), Sealer::new("south"));
    let mut writer = log.writer(0).await.unwrap();
    for _ in 0..5 {
        let mut batch = north.seal_many(2);
        batch.push(south.seal(r#"{"site":"süd"}"#));
        writer.append(batch).await.unwrap();
    }
    let (chain, broken) = follow(subject).await;
    assert_eq!(broken, None);
    assert_eq!((chain.head("north"), chain.head("south")), (north.head(), south.head()));
    assert_eq!((north.head().sequence, south.head().sequence), (10, 5));
}

/// A stranger's record stops the reader there.
pub async fn a_foreign_record_is_detected(subject: &dyn Subject) {
    let log = ledger(subject, 1).await;
    let mut north = Sealer::new("north");
    log.writer(0).await.unwrap().append(north.seal_many(3)).await.unwrap();
    subject.append_foreign(0, plain("{}")).await;
    let (chain, broken) = follow(subject).await;
    let broken = broken.expect("the foreign record is found");
    assert!(matches!(broken.cause, BreakCause::Foreign(_)), "{broken:?}");
    assert_eq!(chain.head("north"), north.head());
}

/// A stranger who knows the format, but not the history, is found as well.
pub async fn a_forged_continuation_is_detected(subject: &dyn Subject) {
    let log = ledger(subject, 1).await;
    let mut north = Sealer::new("north");
    log.writer(0).await.unwrap().append(north.seal_many(3)).await.unwrap();
    let mut forger = Sealer::new("north");
    forger.seal(r#"{"another":"history"}"#);
    forger.seal_many(2);
    subject.append_foreign(0, forger.seal("{}")).await;
    let broken = follow(subject).await.1.expect("the forged record is found");
    assert!(
        matches!(broken.cause, BreakCause::PrevHash { expected, .. } if expected == north.head().hash),
        "{broken:?}"
    );
}

/// The same sealed event twice.
pub async fn a_doubled_event_is_detected(subject: &dyn Subject) {
    let log = ledger(subject, 1).await;
    let event = Sealer::new("north").seal("{}");
    let mut writer = log.writer(0).await.unwrap();
    writer.append(vec![event.clone()]).await.unwrap();
    let doubled_at = writer.append(vec![event]).await.unwrap();
    let broken = follow(subject).await.1.expect("the double is found");
    assert_eq!(broken.cause, BreakCause::Sequence { previous: 1, found: 1 });
    assert_eq!(broken.offset, doubled_at);
}
