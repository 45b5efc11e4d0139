//! Given/when/then: what may be done to one lot.

use chrono::NaiveDate;
use rust_decimal::Decimal;

use crate::command::{Command, QuantityInput};
use crate::event::Event;
use crate::given::{Given, Then, expired, judged, lot, lot_data, lot_id, moved, quantity, site};
use crate::id::SampleId;
use crate::lot::command::LotCommand;
use crate::lot::event::{AdjustmentDirection, LotAdjusted, LotEvent, LotSampled, LotScrapped};
use crate::lot::{LotRef, LotRegistered};
use crate::qc::QcOutcome;
use crate::quantity::Quantity;

fn m1() -> LotRef {
    LotRef::Code("M1".into())
}

/// Asked with a reason.
fn when(given: &Given, command: LotCommand) -> Then {
    let mut request = given.request(Command::Lot(command));
    request.reason = Some("counted".into());
    given.when_asked(&request)
}

fn adjust(direction: AdjustmentDirection, value: &str, unit: &str) -> LotCommand {
    LotCommand::Adjust { lot: m1(), direction, quantity: quantity(value, unit) }
}

fn scrap(given: Option<QuantityInput>) -> LotCommand {
    LotCommand::Scrap { lot: m1(), quantity: given }
}

fn sample(value: &str, unit: &str) -> LotCommand {
    LotCommand::Sample { lot: m1(), quantity: quantity(value, unit), label: Some(" P-1 ".into()), purpose: None }
}

fn left(given: &Given) -> String {
    given.state.lots.get(lot_id("M1")).unwrap().remaining.normalize().to_string()
}

fn amount(value: &str, unit: &str) -> Quantity {
    Quantity::parse(value, unit).unwrap()
}

fn lasting(until: &str) -> Event {
    let expires_on: NaiveDate = until.parse().unwrap();
    Event::LotRegistered(LotRegistered { expires_on: Some(expires_on), ..lot_data("M1", "9", "KGM") })
}

#[test]
fn a_count_corrects_the_books_both_ways() {
    let mut given = site(&[lot("M1", "10", "KGM")]);
    for (direction, value, unit, then) in [
        (AdjustmentDirection::Increase, "500", "GRM", "10.5"),
        (AdjustmentDirection::Decrease, "10.5", "KGM", "0"),
        (AdjustmentDirection::Increase, "2", "KGM", "2"),
    ] {
        let quantity = amount(value, unit);
        let event = Event::Lot(LotEvent::LotAdjusted(LotAdjusted { lot_id: lot_id("M1"), direction, quantity }));
        when(&given, adjust(direction, value, unit)).event(&event);
        given.happened(&event);
        assert_eq!(left(&given), then);
    }
    let less = adjust(AdjustmentDirection::Decrease, "2.000001", "KGM");
    let message = "lot 'M1' has 2 KGM left, 2.000001 KGM asked";
    when(&given, less).refused("NOT_ENOUGH_LEFT", Some("quantity"), message);
    let message = "lot 'M1' is measured in KGM, which does not convert to LTR";
    for direction in [AdjustmentDirection::Increase, AdjustmentDirection::Decrease] {
        when(&given, adjust(direction, "1", "LTR")).refused("UNIT_MISMATCH", Some("quantity"), message);
    }
}

#[test]
fn adjusting_and_scrapping_need_a_reason() {
    let given = site(&[lot("M1", "10", "KGM")]);
    for command in [adjust(AdjustmentDirection::Decrease, "1", "KGM"), scrap(None)] {
        let message = "this command needs a reason";
        given.when(Command::Lot(command)).refused("REASON_REQUIRED", Some("reason"), message);
    }
}

#[test]
fn what_is_scrapped_is_gone() {
    let mut given = site(&[lot("M1", "10", "KGM")]);
    let event =
        |value| Event::Lot(LotEvent::LotScrapped(LotScrapped { lot_id: lot_id("M1"), quantity: amount(value, "KGM") }));
    when(&given, scrap(Some(quantity("4", "KGM")))).event(&event("4"));
    given.happened(&event("4"));
    let message = "lot 'M1' has 6 KGM left, 6001 GRM asked";
    when(&given, scrap(Some(quantity("6001", "GRM")))).refused("NOT_ENOUGH_LEFT", Some("quantity"), message);
    when(&given, scrap(None)).event(&event("6"));
    given.happened(&event("6"));
    assert_eq!(left(&given), "0");
    when(&given, scrap(None)).refused("NOTHING_LEFT", Some("quantity"), "lot 'M1' has nothing left");
}

#[test]
fn a_sample_is_taken_out() {
    let mut given = site(&[lot("M1", "10", "KGM")]);
    let event = Event::Lot(LotEvent::LotSampled(LotSampled {
        sample_id: SampleId(given.fresh()),
        lot_id: lot_id("M1"),
        quantity: amount("250", "GRM"),
        label: Some("P-1".into()),
        purpose: None,
    }));
    when(&given, sample("250", "GRM")).event(&event);
    given.happened(&event);
    assert_eq!(left(&given), "9.75");
    let message = "lot 'M1' has 9.75 KGM left, 10 KGM asked";
    when(&given, sample("10", "KGM")).refused("NOT_ENOUGH_LEFT", Some("quantity"), message);
}

#[test]
fn a_lot_is_moved() {
    let given = site(&[lot("M1", "10", "KGM")]);
    let to = |location: &str| LotCommand::Move { lot: m1(), location: location.into() };
    when(&given, to(" dock\n")).event(&moved("M1", "dock"));
    let message = "location must have 1 to 128 characters and no control characters";
    for location in ["", "a\0b", &"x".repeat(129)] {
        when(&given, to(location)).refused("INVALID_TEXT", Some("location"), message);
    }
}

#[test]
fn blocked_lots_are_counted_moved_sampled_and_thrown_away() {
    for outcome in [QcOutcome::Hold, QcOutcome::Fail] {
        let given = site(&[lot("M1", "10", "KGM"), judged("M1", outcome)]);
        let moving = LotCommand::Move { lot: m1(), location: "cage".into() };
        for command in [adjust(AdjustmentDirection::Decrease, "1", "KGM"), scrap(None), sample("1", "KGM"), moving] {
            when(&given, command).accepted();
        }
    }
}

#[test]
fn a_lot_is_marked_as_expired_once_and_not_before() {
    let expire = || LotCommand::Expire { lot: m1() };
    let mut given = site(&[lasting("2026-11-20")]);
    when(&given, expire()).event(&expired("M1", "2026-11-20"));
    given.happened(&expired("M1", "2026-11-20"));
    assert!(given.state.lots.get(lot_id("M1")).unwrap().expired);
    when(&given, expire()).refused("ALREADY_EXPIRED", Some("lot"), "lot 'M1' is marked as expired already");
    let message = "the last day of use of lot 'M1' is 2026-11-21, not before 2026-11-21";
    when(&site(&[lasting("2026-11-21")]), expire()).refused("NOT_EXPIRED", Some("lot"), message);
    let message = "lot 'M1' has no last day of use";
    when(&site(&[lot("M1", "1", "KGM")]), expire()).refused("NO_EXPIRY", Some("lot"), message);
}

#[test]
fn an_unknown_lot_is_named() {
    let given = site(&[]);
    let moving = LotCommand::Move { lot: m1(), location: "x".into() };
    let expiring = LotCommand::Expire { lot: m1() };
    for command in
        [adjust(AdjustmentDirection::Increase, "1", "KGM"), scrap(None), sample("1", "KGM"), moving, expiring]
    {
        when(&given, command).refused("UNKNOWN_LOT", Some("lot"), "lot 'M1' does not exist");
    }
}

#[test]
fn one_version_counts_for_all_that_happens_to_a_lot() {
    let mut given = site(&[lot("M1", "10", "KGM"), lot("X", "1", "KGM")]);
    given.happened(&moved("M1", "dock"));
    let mut request = given.request(Command::Lot(sample("1", "KGM")));
    for (version, code) in [(1, Some("VERSION_CONFLICT")), (3, None)] {
        request.expected_version = Some(version);
        let then = given.when_asked(&request);
        match code {
            Some(code) => assert_eq!(then.refusal().code(), code),
            None => assert_eq!(then.accepted().events.len(), 1),
        }
    }
    assert_eq!(given.state.lots.get(lot_id("M1")).unwrap().remaining, Decimal::TEN);
}
