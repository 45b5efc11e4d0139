//! Which lots belong to a run.

use super::*;
use crate::command::RegisterLot;
use crate::given::{lot, parent, register};
use crate::quantity::Quantity;
use crate::run::event::RunLotUnlinked;

fn unlink(code: &str) -> Command {
    Command::Run(RunCommand::UnlinkLot { run: named(), lot: LotRef::Code(code.to_owned()) })
}

#[test]
fn a_lot_belongs_to_a_phase_with_what_there_is_of_it() {
    let mut given = running(&process(vec![]));
    given.happened(&lot("M1", "100", "KGM"));
    let child = RegisterLot { parents: vec![parent("M1", "40", "KGM")], ..register("M2", "1", "KGM") };
    for event in given.when(Command::RegisterLot(child)).accepted().events {
        given.happened(&event);
    }
    let quantity = Some(Quantity::parse("60", "KGM").unwrap());
    let (run_id, lot_id) = (run(1), lot_id("M1"));
    let expected = RunLotLinked { run_id, lot_id, phase: 0, quantity };
    given.when(link("M1")).event(&Event::Run(RunEvent::RunLotLinked(expected)));
    given.happened(&linked(1, "M1", 0));
    let message = "lot 'M1' is in phase 0 of run 'R1' already";
    given.when(link("M1")).refused("LOT_IN_PHASE", Some("lot"), message);
    given.happened(&advanced(1, 0, 10));
    given.when(link("M1")).accepted();
    given.when(link("M9")).refused("UNKNOWN_LOT", Some("lot"), "lot 'M9' does not exist");
}

#[test]
fn a_lot_belongs_to_one_open_run() {
    let mut given = running(&process(vec![]));
    for event in [lot("M1", "1", "KGM"), started(2, "R2", &process(vec![])), linked(2, "M1", 0)] {
        given.happened(&event);
    }
    given.when(link("M1")).refused("LOT_IN_RUN", Some("lot"), "lot 'M1' belongs to run 'R2'");
    let aborted = crate::run::event::RunAborted { run_id: run(2), phase: 0 };
    given.happened(&Event::Run(RunEvent::RunAborted(aborted)));
    given.when(link("M1")).accepted();
}

#[test]
fn a_lot_that_is_taken_out_is_not_in_the_way_and_comes_back_without_its_decisions() {
    let mut given = running(&process(vec![gate("ripe", 0, Judged::Lots)]));
    for event in [lot("M1", "1", "KGM"), lot("M2", "1", "KGM"), linked(1, "M1", 0), linked(1, "M2", 0)] {
        given.happened(&event);
    }
    given.happened(&decided(7, "ripe", Some("M1"), QcOutcome::Pass));
    given.happened(&decided(8, "ripe", Some("M2"), QcOutcome::Pass));
    given.when(advance(0)).accepted();
    assert_eq!(given.when(unlink("M2")).refusal().code(), "REASON_REQUIRED");
    let unlinked = Event::Run(RunEvent::RunLotUnlinked(RunLotUnlinked { run_id: run(1), lot_id: lot_id("M2") }));
    given.when_asked(&asked(&given, unlink("M2"), None)).event(&unlinked);
    given.happened(&unlinked);
    given.when(advance(0)).accepted();
    let request = asked(&given, unlink("M2"), None);
    given.when_asked(&request).refused("LOT_NOT_IN_RUN", Some("lot"), "lot 'M2' does not belong to run 'R1'");
    given.happened(&linked(1, "M2", 0));
    assert_eq!(given.when(advance(0)).refusal().code(), "GATE_NOT_PASSED");
}
