//! What the time does to alerts, found by the writer and decided like any command.

use std::time::Duration;

use lotline_domain::alert::command::AlertCommand;
use lotline_domain::alert::event::AlertEvent;
use lotline_domain::command::Command;
use lotline_domain::event::Event;
use lotline_domain::id::{ActorId, AlertId};
use lotline_domain::qc::QcOutcome;
use lotline_domain::timestamp::Timestamp;

use crate::stand::{MINUTE, Stand, judge, register, within};

fn watching() -> Stand {
    let mut stand = Stand::new();
    stand.options.watch = Some(Duration::from_millis(5));
    stand
}

/// The alerts of the log, with who recorded them and when.
async fn alerts(stand: &Stand) -> Vec<(AlertEvent, ActorId, Timestamp)> {
    let events = stand.events(0).await.into_iter();
    let alert = |event| if let Event::Alert(alert) = event { Some(alert) } else { None };
    events
        .filter_map(|(envelope, event)| {
            let alert = alert(event)?;
            Some((alert, envelope.attributes.actor, envelope.attributes.time))
        })
        .collect()
}

/// Waits until so many events about alerts are in the log. The writer looks once a second at least.
async fn reached(stand: &Stand, count: usize) -> Vec<(AlertEvent, ActorId, Timestamp)> {
    within(async {
        loop {
            let found = alerts(stand).await;
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// A lot on HOLD, and the alert of it.
async fn held(stand: &Stand) -> AlertId {
    let process = stand.serve().await;
    process.accepted(stand.request(register("M1"))).await;
    let receipt = process.accepted(stand.request(judge("M1", QcOutcome::Hold))).await;
    assert_eq!(receipt.version, 3, "the version of the lot, not that of the alert that followed");
    process.stop().await;
    let found = alerts(stand).await;
    found[0].0.alert_id()
}

#[tokio::test]
async fn what_nobody_acknowledges_escalates_by_the_clock_and_not_twice() {
    let stand = watching();
    held(&stand).await;
    let process = stand.serve().await;
    stand.clock.forward(15 * MINUTE);
    let found = reached(&stand, 2).await;
    let (AlertEvent::AlertEscalated(escalated), actor, _) = &found[1] else { panic!("{found:?}") };
    assert_eq!((escalated.from_level, escalated.level, actor.as_str()), (1, 2, "lotline"));
    process.stop().await;
    // A successor finds it done.
    let process = stand.serve().await;
    stand.clock.forward(45 * MINUTE);
    let found = reached(&stand, 3).await;
    assert!(matches!(&found[2].0, AlertEvent::AlertEscalated(escalated) if escalated.level == 3));
    stand.clock.forward(10_000 * MINUTE);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(alerts(&stand).await.len(), 3);
    process.stop().await;
    assert!(!stand.types().await.contains(&"command.refused".to_owned()), "nothing is asked for in vain");
}

#[tokio::test]
async fn what_somebody_acknowledged_in_time_does_not_escalate() {
    let stand = watching();
    let alert_id = held(&stand).await;
    let process = stand.serve().await;
    let command = AlertCommand::AcknowledgeAlert { alert_id, note: None };
    process.accepted(stand.request(Command::Alert(command))).await;
    stand.clock.forward(60 * MINUTE);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    process.stop().await;
    assert_eq!(alerts(&stand).await.len(), 2);
}

#[tokio::test]
async fn a_writer_that_is_told_not_to_look_does_not() {
    let stand = Stand::new();
    held(&stand).await;
    let process = stand.serve().await;
    stand.clock.forward(60 * MINUTE);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    process.stop().await;
    assert_eq!(alerts(&stand).await.len(), 1);
}
