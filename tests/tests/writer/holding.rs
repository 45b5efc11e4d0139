//! A mix and a hold at the same moment: whichever comes first, nothing on hold goes into anything, and the hold reaches what was made before it.

use lotline_commands::fold::PartitionFold;
use lotline_domain::command::{Command, CommandRequest, ParentInput, QuantityInput, RegisterLot};
use lotline_domain::event::Event;
use lotline_domain::hold::command::{HoldCommand, HoldRef};
use lotline_domain::hold::event::HoldEvent;
use lotline_domain::lot::LotRef;
use lotline_domain::qc::QcOutcome;
use tokio::task::JoinSet;

use crate::stand::{Stand, judge, lot, register, tenant};

fn code(code: &str) -> LotRef {
    LotRef::Code(code.to_owned())
}

/// A kilogram of each.
fn mix(name: &str, parents: &[String]) -> Command {
    let kilogram = || QuantityInput { value: "1".to_owned(), unit: "KGM".to_owned() };
    let parents = parents.iter().map(|parent| ParentInput { lot: code(parent), quantity: kilogram() }).collect();
    Command::RegisterLot(RegisterLot { parents, ..lot(name) })
}

fn place(lot: &str) -> Command {
    Command::Hold(HoldCommand::Place { lots: vec![code(lot)] })
}

fn because(stand: &Stand, command: Command) -> CommandRequest {
    CommandRequest { reason: Some("as planned".to_owned()), ..stand.request(command) }
}

/// Every lot that was made, held against every hold of the log by walking the log again.
fn check(events: &[Event], fold: &PartitionFold) {
    let mut made: Vec<(&str, Vec<usize>)> = Vec::new();
    let mut ids = Vec::new();
    let mut held: Vec<usize> = Vec::new();
    for event in events {
        match event {
            Event::LotRegistered(data) => {
                let place = |id| ids.iter().position(|known| *known == id).expect("a parent is older");
                let parents: Vec<usize> = data.parents.iter().map(|input| place(input.lot_id)).collect();
                assert!(
                    parents.iter().all(|parent| !held.contains(parent)),
                    "'{}' is made of a lot on hold",
                    data.code
                );
                ids.push(data.lot_id);
                made.push((&data.code, parents));
            }
            Event::Hold(HoldEvent::HoldPlaced(data)) => {
                held.extend(ids.iter().enumerate().filter(|(_, id)| data.lots.contains(id)).map(|(place, _)| place));
                // Parents are older than their children, so one pass is enough.
                for (place, (_, parents)) in made.iter().enumerate() {
                    if parents.iter().any(|parent| held.contains(parent)) {
                        held.push(place);
                    }
                }
            }
            other => assert!(matches!(other, Event::CommandRefused(_)), "{other:?}"),
        }
    }
    let lots = &fold.streams["north"].state.lots;
    for (place, id) in ids.iter().enumerate() {
        assert_eq!(lots.is_held(*id), held.contains(&place), "'{}'", made[place].0);
    }
}

#[tokio::test]
async fn a_mix_and_a_hold_race_and_either_order_is_legal() {
    let (mut before, mut after) = (0, 0);
    for round in 0..24 {
        let stand = Stand::new();
        let process = stand.serve().await;
        for name in ["M1", "M2"] {
            process.accepted(stand.request(register(name))).await;
        }
        let mut tasks = JoinSet::new();
        let mixes = (0..8).map(|number| {
            let parents = if number == 0 { vec!["M1".into(), "M2".into()] } else { vec![format!("X{}", number - 1)] };
            stand.request(mix(&format!("X{number}"), &parents))
        });
        let mut requests: Vec<CommandRequest> = mixes.collect();
        requests.insert(round % 9, because(&stand, place("M1")));
        for request in requests {
            let bus = process.bus.clone();
            tasks.spawn(async move { bus.submit(request).await });
        }
        while let Some(ended) = tasks.join_next().await {
            drop(ended.expect("submitting does not panic"));
        }
        process.stop().await;
        let events: Vec<Event> = stand.events(0).await.into_iter().map(|(_, event)| event).collect();
        check(&events, &stand.fold(0).await);
        let place = events.iter().position(|event| matches!(event, Event::Hold(_))).expect("the hold was placed");
        let made = |events: &[Event]| {
            events.iter().any(|event| matches!(event, Event::LotRegistered(lot) if lot.code == "X0"))
        };
        before += u32::from(made(&events[..place]));
        after += u32::from(!made(&events));
    }
    assert!(before > 0 && after > 0, "{before} mixes came before their hold and {after} never");
}

#[tokio::test]
async fn a_snapshot_has_the_holds_and_what_they_reach() {
    let stand = Stand::new();
    let process = stand.serve().await;
    process.accepted(stand.request(register("M1"))).await;
    process.accepted(stand.request(mix("A", &["M1".into()]))).await;
    process.accepted(because(&stand, place("M1"))).await;
    process.accepted(stand.request(judge("A", QcOutcome::Hold))).await;
    let whole = stand.fold(0).await;
    let snapshot = whole.to_snapshot().expect("a fold can be written");
    let read = PartitionFold::from_snapshot(&snapshot).expect("a snapshot can be read");
    assert_eq!(read, whole);
    stand.shelf.0.lock().expect("nothing panics under this lock").insert(0, snapshot);
    process.stop().await;

    // Goes on from the snapshot: what it says of holds is what the rules go by.
    let process = stand.serve().await;
    let refused = process.refused(stand.request(mix("B", &["A".into()]))).await;
    assert_eq!(refused, ("LOT_ON_HOLD".to_owned(), "lot 'A' is on hold H-1 through lot 'M1', H-2".to_owned()));
    let hold = HoldRef::Code("H-1".to_owned());
    process.accepted(because(&stand, Command::Hold(HoldCommand::Release { hold }))).await;
    process.accepted(stand.request(judge("A", QcOutcome::Pass))).await;
    process.accepted(stand.request(mix("B", &["A".into()]))).await;
    process.stop().await;
    let mut tail = read;
    for stored in stand.records(0).await.into_iter().filter(|stored| stored.offset >= tail.next).collect::<Vec<_>>() {
        tail.apply(&tenant(), &stored).expect("the log folds");
    }
    assert_eq!(tail, stand.fold(0).await, "from the middle as from the beginning");
}
