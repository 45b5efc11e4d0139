//! Balances of small plants, and of random ones against books that are kept by hand.

use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::*;
use crate::genealogy::followed::Step;
use crate::stock_changes::StockChange;

fn at(hour: u32) -> DateTime<Utc> {
    DateTime::from_timestamp(i64::from(hour) * 3_600, 0).unwrap()
}

fn id(number: usize) -> Uuid {
    Uuid::from_u128(number as u128 + 1)
}

fn lot(number: usize, quantity: u32, hour: u32) -> Stocked {
    let (quantity_base, dimension) = (Decimal::from(quantity), Dimension::Mass);
    Stocked { id: id(number), quantity_base, dimension, transformation_id: None, occurred_at: at(hour) }
}

fn step(parent: usize, child: usize, quantity: u32, hour: u32) -> Step {
    let (parent, child, quantity_base) = (id(parent), id(child), Decimal::from(quantity));
    Step { parent, child, quantity_base, dimension: Dimension::Mass, occurred_at: at(hour) }
}

fn change(lot: usize, kind: StockChangeKind, quantity: u32, hour: u32) -> StockChange {
    StockChange { lot_id: id(lot), kind, quantity_base: Decimal::from(quantity), occurred_at: at(hour) }
}

fn struck(lots: &[Stocked], flows: &Flows, period: Period) -> Vec<Measure> {
    let lots = lots.iter().map(|lot| (lot.id, lot.clone())).collect();
    let measures = measures(&lots, flows, period);
    for measure in &measures {
        assert_eq!(measure.came(), measure.went(), "{measure:?}");
    }
    measures
}

/// The terms that are not zero, by name.
fn terms(measure: &Measure) -> String {
    let shown = format!("{measure:?}");
    let inner = shown.split_once("dimension: ").unwrap().1.trim_end_matches(" }");
    inner.split(", ").filter(|term| !term.ends_with(": 0")).collect::<Vec<_>>().join(", ")
}

#[test]
fn what_went_from_one_lot_of_the_scope_to_another_is_on_neither_side() {
    let lots = [lot(0, 100, 1), lot(1, 60, 2)];
    let flows = Flows { steps: vec![step(0, 1, 60, 2), step(1, 9, 5, 3)], changes: vec![] };
    let [measure] = struck(&lots, &flows, Period::default())[..] else { panic!("one dimension") };
    assert_eq!(terms(&measure), "Mass, registered: 100, used: 5, closing: 95");
}

#[test]
fn only_what_nobody_states_is_variance() {
    let made = |number, quantity| Stocked { transformation_id: Some(Uuid::from_u128(77)), ..lot(number, quantity, 2) };
    let flows = Flows {
        steps: vec![step(0, 1, 50, 2), step(0, 2, 50, 2), step(3, 4, 30, 2)],
        changes: vec![change(1, StockChangeKind::Scrapped, 3, 4), change(1, StockChangeKind::Increased, 1, 4)],
    };
    // Two outputs of one transformation: one has more, the other less, together 4 less.
    let lots = [lot(0, 100, 1), made(1, 55), made(2, 41), lot(3, 30, 1), lot(4, 28, 2)];
    let [measure] = struck(&lots, &flows, Period::default())[..] else { panic!("one dimension") };
    assert_eq!(
        terms(&measure),
        "Mass, registered: 130, increased: 1, lost: 4, scrapped: 3, shortfall: 2, closing: 122"
    );
    assert_eq!(measure.variance(), Decimal::from(-2));
}

#[test]
fn litres_that_become_kilograms_leave_one_measure_and_come_to_the_other() {
    let milk = Stocked { dimension: Dimension::Volume, ..lot(0, 100, 1) };
    let flows = Flows { steps: vec![Step { dimension: Dimension::Volume, ..step(0, 1, 80, 2) }], changes: vec![] };
    let [mass, volume] = struck(&[milk, lot(1, 9, 2)], &flows, Period::default())[..] else { panic!("two dimensions") };
    assert_eq!(terms(&mass), "Mass, converted_in: 9, closing: 9");
    assert_eq!(terms(&volume), "Volume, registered: 100, converted_out: 80, closing: 20");
}

#[test]
fn a_period_begins_with_what_was_there_and_ends_before_its_end() {
    let lots = [lot(0, 100, 1), lot(1, 40, 5)];
    let changes = [(2, 10), (4, 20), (6, 30)].map(|(hour, kilos)| change(0, StockChangeKind::Scrapped, kilos, hour));
    let flows = Flows { steps: vec![step(0, 8, 5, 3)], changes: changes.to_vec() };
    let period = Period { from: Some(at(3)), until: Some(at(6)) };
    let [measure] = struck(&lots, &flows, period)[..] else { panic!("one dimension") };
    assert_eq!(terms(&measure), "Mass, opening: 90, registered: 40, used: 5, scrapped: 20, closing: 105");
}

/// A plant: lots with quantity and hour, in order; edges from earlier to later ones; changes.
type Plant = (Vec<(u32, bool)>, Vec<(usize, usize, u32)>, Vec<(usize, usize, u32, u32)>);

fn plants() -> impl Strategy<Value = Plant> {
    (2..9_usize).prop_flat_map(|lots| {
        let edges = proptest::collection::vec((0..lots, 0..lots, 1..50_u32), 0..12);
        let changes = proptest::collection::vec((0..lots, 0..5_usize, 1..20_u32, 0..12_u32), 0..10);
        (proptest::collection::vec((1..100_u32, any::<bool>()), lots), edges, changes)
    })
}

proptest! {
    /// Both sides are equal whatever the scope and the period, what was there at the end of one is there at the beginning of the next, and
    /// what is there is what each lot's own book says.
    #[test]
    fn books_are_even_whatever_is_asked((lots, edges, changes) in plants(), scope in any::<u16>(), cut in 0..12_u32) {
        let all: Vec<Stocked> = lots.iter().enumerate().map(|(number, (quantity, made))| Stocked {
            transformation_id: made.then(|| Uuid::from_u128(500 + number as u128 / 2)),
            ..lot(number, *quantity, number as u32)
        }).collect();
        let mut steps: Vec<Step> = Vec::new();
        for (parent, child, quantity) in edges {
            if parent < child && !steps.iter().any(|step| (step.parent, step.child) == (id(parent), id(child))) {
                steps.push(super::tests::step(parent, child, quantity, child as u32));
            }
        }
        let changes: Vec<StockChange> = changes.into_iter().map(|(lot, kind, quantity, later)| {
            change(lot, StockChangeKind::ALL[kind], quantity, lot as u32 + later)
        }).collect();
        let chosen: Vec<Stocked> = all.iter().enumerate().filter(|(at, _)| scope >> at & 1 == 1).map(|(_, lot)| lot.clone()).collect();
        let touches = |step: &&Step| chosen.iter().any(|lot| lot.id == step.parent || lot.id == step.child);
        let flows = Flows { steps: steps.iter().filter(touches).cloned().collect(), changes: changes.clone() };

        let book = |until: Option<u32>| -> Decimal {
            let over = |hour: DateTime<Utc>| until.is_some_and(|until| hour >= at(until));
            chosen.iter().filter(|lot| !over(lot.occurred_at)).map(|lot| {
                let taken: Decimal = steps.iter().filter(|step| step.parent == lot.id && !over(step.occurred_at)).map(|step| step.quantity_base).sum();
                let changed: Decimal = changes.iter().filter(|change| change.lot_id == lot.id && !over(change.occurred_at)).map(signed).sum();
                lot.quantity_base - taken + changed
            }).sum()
        };
        let closing = |period| struck(&chosen, &flows, period).first().map_or(Decimal::ZERO, |measure| measure.closing);
        prop_assert_eq!(closing(Period::default()), book(None));
        prop_assert_eq!(closing(Period { from: None, until: Some(at(cut)) }), book(Some(cut)));
        let rest = struck(&chosen, &flows, Period { from: Some(at(cut)), until: None });
        prop_assert_eq!(rest.first().map_or(Decimal::ZERO, |measure| measure.opening), book(Some(cut)));
        prop_assert_eq!(rest.first().map_or(Decimal::ZERO, |measure| measure.closing), book(None));
    }
}
