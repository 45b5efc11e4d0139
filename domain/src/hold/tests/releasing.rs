//! How holds end: as a whole, or lot by lot.

use super::*;

/// `M1` → `A` → `C`, `M1` → `B` → `C`, `A` → `D`: a diamond with a tail.
fn diamond() -> Given {
    let mut given =
        site(&[lot("M1", "100", "KGM"), lot_from("A", "M1", "50", "KGM"), lot_from("B", "M1", "20", "KGM")]);
    then(&mut given, transform(TransformationKind::Transform, &["A", "B"], &["C"]));
    then(&mut given, transform(TransformationKind::Transform, &["A"], &["D"]));
    then(&mut given, Command::Hold(place(&["M1"])));
    given
}

const ALL: [&str; 5] = ["M1", "A", "B", "C", "D"];

#[test]
fn a_released_lot_takes_along_what_is_held_only_through_it() {
    let mut given = diamond();
    let released =
        HoldLotReleased { hold_id: given.state.lots.holds().find(&hold("H-1")).unwrap().id, lots: vec![lot_id("A")] };
    when(&given, release_lots("H-1", &["A"])).event(&Event::Hold(HoldEvent::HoldLotReleased(released)));
    then(&mut given, Command::Hold(release_lots("H-1", &["A"])));
    assert_eq!(held(&given, &ALL), ["M1", "B", "C"], "C is also reached through B, D is not");
    then(&mut given, Command::Hold(release_lots("H-1", &["B"])));
    assert_eq!(held(&given, &ALL), ["M1"]);
    using(&given, "C").accepted();
}

#[test]
fn several_lots_are_released_at_once() {
    let mut given = diamond();
    then(&mut given, Command::Hold(release_lots("H-1", &["A", "B"])));
    assert_eq!(held(&given, &ALL), ["M1"]);
}

#[test]
fn a_released_root_lets_go_what_no_other_root_reaches() {
    let mut given = diamond();
    then(&mut given, Command::Hold(place(&["A", "B"])));
    then(&mut given, Command::Hold(release("H-1")));
    then(&mut given, Command::Hold(release_lots("H-2", &["A"])));
    assert_eq!(held(&given, &ALL), ["B", "C"]);
    using(&given, "C").refused("LOT_ON_HOLD", Some("parents"), "lot 'C' is on hold H-2 through lot 'B'");
}

#[test]
fn releasing_from_one_hold_leaves_the_others() {
    let mut given = diamond();
    then(&mut given, Command::Hold(place(&["D"])));
    then(&mut given, Command::Hold(release_lots("H-1", &["A"])));
    using(&given, "D").refused("LOT_ON_HOLD", Some("parents"), "lot 'D' is on hold H-2");
}

#[test]
fn a_part_is_released_and_the_rest_stays() {
    let mut given = diamond();
    then(&mut given, transform(TransformationKind::Split, &["B"], &["P", "Q"]));
    then(&mut given, Command::Hold(release_lots("H-1", &["P"])));
    using(&given, "P").accepted();
    assert_eq!(held(&given, &["M1", "A", "B", "C", "D", "P", "Q"]), ["M1", "A", "B", "C", "D", "Q"]);
    then(&mut given, transform(TransformationKind::Transform, &["P"], &["P1", "P2"]));
    assert!(held(&given, &["P1", "P2"]).is_empty(), "what is made of a released lot is free");
}

#[test]
fn what_is_released_is_there_open_and_on_that_hold() {
    let mut given = diamond();
    when(&given, release("H-9")).refused("UNKNOWN_HOLD", Some("hold"), "hold 'H-9' does not exist");
    let id = HoldId(uuid::Uuid::from_u128(5));
    let by_id = HoldCommand::Release { hold: HoldRef::Id(id) };
    when(&given, by_id).refused("UNKNOWN_HOLD", Some("hold"), &format!("hold {id} does not exist"));
    given.happened(&lot("X", "1", "KGM"));
    let message = "lot 'X' is not on hold H-1";
    when(&given, release_lots("H-1", &["A", "X"])).refused("LOT_NOT_HELD", Some("lots"), message);
    when(&given, release_lots("H-1", &[])).refused("NO_LOTS", Some("lots"), "name at least one lot");
    when(&given, release_lots("H-1", &["nothing"])).refused(
        "UNKNOWN_LOT",
        Some("lots"),
        "lot 'nothing' does not exist",
    );
    for command in [release("H-1"), release_lots("H-1", &["A"])] {
        let message = "this command needs a reason";
        given.when(Command::Hold(command)).refused("REASON_REQUIRED", Some("reason"), message);
    }
    let hold_id = given.state.lots.holds().find(&hold(" H-1 ")).unwrap().id;
    let released = HoldReleased { hold_id, decision_id: None };
    when(&given, release("H-1")).event(&Event::Hold(HoldEvent::HoldReleased(released)));
    then(&mut given, Command::Hold(release("H-1")));
    for command in [release("H-1"), release_lots("H-1", &["A"])] {
        when(&given, command).refused("HOLD_RELEASED", Some("hold"), "hold H-1 is released already");
    }
}

#[test]
fn the_expected_version_is_that_of_the_hold() {
    let mut given = diamond();
    let expecting = |given: &Given, version, command: HoldCommand| {
        let request = CommandRequest { expected_version: Some(version), ..asked(given, Command::Hold(command)) };
        given.when_asked(&request)
    };
    let placed = given.state.lots.holds().find(&hold("H-1")).unwrap().version;
    expecting(&given, placed, release("H-1")).accepted();
    expecting(&given, 0, place(&["A"])).accepted();
    then(&mut given, Command::Hold(release_lots("H-1", &["A"])));
    assert_eq!(expecting(&given, placed, release("H-1")).refusal().code(), "VERSION_CONFLICT");
    expecting(&given, placed + 1, release("H-1")).accepted();
}
