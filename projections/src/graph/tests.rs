//! The graph against a model of it that shares no code: edges in a list, ways walked one by one, amounts as whole numbers of 10^-18.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lotline_domain::quantity::Dimension;
use proptest::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::amount::{Amount, Scaled};
use super::live::merged;
use super::trace::{Gap, MOST_LOTS, Source, Trace, Ways};
use super::view::{EdgeFact, LotFact, View};
use super::{Direction, TracedLot};

/// Quantities by which a division ends after three digits at most, so that six steps are exact in eighteen.
const EVEN: [u32; 6] = [1, 2, 4, 5, 8, 10];
/// So no way has more than six steps.
const MOST: usize = 7;

/// A plant: quantities of lots, and `(parent, child, quantity)` with parent < child.
#[derive(Debug, Clone)]
struct Plant {
    lots: Vec<u32>,
    edges: Vec<(usize, usize, u32)>,
    /// After how many edges the graph grows, and what becomes of its tail then.
    cuts: Vec<(usize, Tail)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    Left,
    Joined,
    Merged,
}

/// Ids in an order that has nothing to do with the numbers.
fn id(lot: usize) -> Uuid {
    Uuid::from_u128((lot as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834))
}

fn plants(quantity: impl Strategy<Value = u32> + Clone + 'static) -> impl Strategy<Value = Plant> {
    let tail = prop_oneof![Just(Tail::Left), Just(Tail::Joined), Just(Tail::Merged)];
    (2..=MOST).prop_flat_map(move |lots| {
        let pairs = (0..lots).flat_map(|child| (0..child).map(move |parent| (parent, child))).collect::<Vec<_>>();
        let most = pairs.len();
        let edges = proptest::sample::subsequence(pairs, 0..=most).prop_shuffle();
        let quantities =
            (proptest::collection::vec(quantity.clone(), lots), proptest::collection::vec(1_u32..30, most));
        let cuts = proptest::collection::vec((0..4_usize, tail.clone()), 0..8);
        (edges, quantities, cuts).prop_map(|(edges, (lots, taken), cuts)| {
            let edges = edges.into_iter().zip(taken).map(|((parent, child), taken)| (parent, child, taken));
            Plant { lots, edges: edges.collect(), cuts }
        })
    })
}

fn scaled(value: u32) -> Option<Scaled> {
    Scaled::of(Decimal::from(value))
}

impl Plant {
    fn lot(&self, lot: usize) -> LotFact {
        let site = format!("site-{}", lot % 3);
        LotFact { id: id(lot), site, quantity: scaled(self.lots[lot]), dimension: Dimension::Mass }
    }

    /// Built step by step: each step brings some edges and the lots that they name.
    fn view(&self) -> View {
        let (mut view, mut left) = (View::default(), &self.edges[..]);
        let lots: Vec<LotFact> = (0..self.lots.len()).map(|lot| self.lot(lot)).collect();
        for (count, tail) in &self.cuts {
            let (now, later) = left.split_at((*count).min(left.len()));
            left = later;
            let named = now.iter().flat_map(|(parent, child, _)| [lots[*child].clone(), lots[*parent].clone()]);
            view = view.grown(&named.collect::<Vec<_>>(), &edges(now));
            view = settled(view, *tail);
        }
        view.grown(&lots, &edges(left))
    }

    fn neighbours(&self, lot: usize, direction: Direction) -> impl Iterator<Item = (usize, u32)> {
        self.edges.iter().filter_map(move |(parent, child, quantity)| match direction {
            Direction::Forward => (*parent == lot).then_some((*child, *quantity)),
            Direction::Backward => (*child == lot).then_some((*parent, *quantity)),
        })
    }

    /// Every way from a lot: where it ends, how long it is, what it carries as a product over a product.
    fn ways(&self, lot: usize, direction: Direction, carried: (u128, u128), steps: u32, found: &mut Vec<Way>) {
        for (next, quantity) in self.neighbours(lot, direction) {
            let carried = (carried.0 * u128::from(quantity), carried.1 * u128::from(self.lots[lot]));
            found.push(Way { to: next, steps: steps + 1, carried });
            self.ways(next, direction, carried, steps + 1, found);
        }
    }

    fn expected(&self, start: usize, direction: Direction) -> BTreeMap<Uuid, Expected> {
        let mut ways = Vec::new();
        self.ways(start, direction, (u128::from(self.lots[start]), 1), 0, &mut ways);
        let mut expected = BTreeMap::new();
        for way in ways {
            let is_end = self.neighbours(way.to, direction).next().is_none();
            let (depth, carried, _) = expected.entry(id(way.to)).or_insert((u32::MAX, Vec::new(), is_end));
            *depth = way.steps.min(*depth);
            carried.push(way.carried);
        }
        expected
    }
}

/// Fewest steps, what each way carries, and whether the graph ends there.
type Expected = (u32, Vec<(u128, u128)>, bool);

struct Way {
    to: usize,
    steps: u32,
    carried: (u128, u128),
}

fn edges(of: &[(usize, usize, u32)]) -> Vec<EdgeFact> {
    let fact = |(parent, child, quantity): &(usize, usize, u32)| EdgeFact {
        parent: id(*parent),
        child: id(*child),
        quantity: scaled(*quantity),
    };
    of.iter().map(fact).collect()
}

fn settled(mut view: View, tail: Tail) -> View {
    match tail {
        Tail::Left => {}
        Tail::Joined => {
            while let [.., before, last] = &view.tail[..] {
                let joined = Arc::new(before.joined(last));
                view.tail.truncate(view.tail.len() - 2);
                view.tail.push(joined);
            }
        }
        Tail::Merged => {
            view.base = Arc::new(merged(&view.base, &view.tail));
            view.tail.clear();
        }
    }
    view
}

fn trace(view: &View, start: usize, ways: Ways) -> Trace {
    Trace::of(view, id(start), ways, MOST_LOTS, Source::Memory).expect("the lot is there")
}

fn one_way(direction: Direction) -> Ways {
    match direction {
        Direction::Backward => Ways::Backward,
        Direction::Forward => Ways::Forward,
    }
}

fn exact(carried: &[(u128, u128)]) -> Decimal {
    let amounts = carried.iter().map(|(over, under)| {
        let scaled = over * 10_u128.pow(18);
        assert_eq!(scaled % under, 0, "the model's division ends");
        scaled / under
    });
    Decimal::from_i128_with_scale(amounts.sum::<u128>() as i128, 18).normalize()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Depths, ends, edges and exact amounts, from every lot, both ways, however the graph has come about.
    #[test]
    fn the_graph_equals_the_model(plant in plants(proptest::sample::select(&EVEN[..]))) {
        let view = plant.view();
        prop_assert_eq!((view.lots(), view.edges()), (plant.lots.len(), plant.edges.len()));
        for start in 0..plant.lots.len() {
            for direction in [Direction::Backward, Direction::Forward] {
                let expected = plant.expected(start, direction);
                let found = trace(&view, start, one_way(direction));
                prop_assert_eq!(&found.gaps, &vec![]);
                let shown: Vec<_> = found.lots.iter().map(|lot| (lot.depth, lot.id)).collect();
                prop_assert!(shown.is_sorted() && shown.len() == expected.len(), "{:?}", shown);
                for TracedLot { id, depth, amount, is_end, .. } in &found.lots {
                    let (steps, carried, ends) = &expected[id];
                    prop_assert_eq!((depth, is_end), (steps, ends));
                    prop_assert_eq!(amount.map(Amount::to_decimal), Some(exact(carried)));
                }
                let inner: BTreeSet<Uuid> = expected.keys().copied().chain([id(start)]).collect();
                let from = |(parent, child, _): &&(usize, usize, u32)| match direction {
                    Direction::Forward => inner.contains(&id(*parent)),
                    Direction::Backward => inner.contains(&id(*child)),
                };
                let totals = found.totals(direction).unwrap();
                prop_assert_eq!(totals.edges, plant.edges.iter().filter(from).count());
                prop_assert_eq!(totals.ends, expected.values().filter(|(.., end)| *end).count());
            }
        }
    }

    /// Where divisions do not end, amounts are rounded down, by less than 10^-18 for each step of each way.
    #[test]
    fn rounding_stays_within_what_is_said(plant in plants(1_u32..100)) {
        let view = plant.view();
        for start in 0..plant.lots.len() {
            let expected = plant.expected(start, Direction::Forward);
            for lot in trace(&view, start, Ways::Forward).lots {
                let (_, carried, _) = &expected[&lot.id];
                // In 10^-24, rounded down: the model may lack one for each way.
                let model: u128 = carried.iter().map(|(over, under)| over * 10_u128.pow(24) / under).sum();
                let found = lot.amount.unwrap().to_decimal() * Decimal::from(10_u64.pow(18));
                let found = u128::try_from(found.mantissa() / 10_i128.pow(found.scale())).unwrap() * 1_000_000;
                // A step in front of others is multiplied by what they take, up to 30 of 1 each.
                let slack = carried.len() as u128 * 7 * 30_u128.pow(5) * 1_000_000;
                prop_assert!(found <= model + carried.len() as u128 && model <= found + slack, "{} {}", found, model);
            }
        }
    }

    /// How much of one is in the other is the same number, asked from either end.
    #[test]
    fn both_ends_say_the_same(plant in plants(proptest::sample::select(&EVEN[..]))) {
        let view = plant.view();
        for start in 0..plant.lots.len() {
            for lot in trace(&view, start, Ways::Forward).lots {
                let other = (0..plant.lots.len()).find(|other| id(*other) == lot.id).unwrap();
                let back = trace(&view, other, Ways::Backward);
                let back = back.lots.iter().find(|found| found.id == id(start)).unwrap();
                prop_assert_eq!((back.amount, back.depth), (lot.amount, lot.depth));
            }
            let both = trace(&view, start, Ways::Both);
            let one_by_one = [Ways::Backward, Ways::Forward].map(|ways| trace(&view, start, ways).lots);
            prop_assert_eq!(both.lots, one_by_one.concat());
        }
    }
}

fn chain(length: usize) -> Plant {
    let edges = (1..length).map(|child| (child - 1, child, 1)).collect();
    Plant { lots: vec![1; length], edges, cuts: Vec::new() }
}

#[test]
fn depth_has_no_cap() {
    let found = trace(&chain(50_000).view(), 0, Ways::Forward);
    assert_eq!(found.lots.len(), 49_999);
    assert_eq!(
        found.lots.last().map(|lot| (lot.depth, lot.amount.unwrap().to_decimal())),
        Some((49_999, Decimal::ONE))
    );
}

#[test]
fn a_limit_is_told_and_no_amount_is_shown() {
    let view = chain(10).view();
    let found = Trace::of(&view, id(0), Ways::Forward, 4, Source::Memory).unwrap();
    assert_eq!(found.lots.len(), 4);
    assert!(found.lots.iter().all(|lot| lot.amount.is_none() && !lot.is_end));
    assert_eq!(found.gaps, [Gap::Limit(4), Gap::UnknownAmounts(4)]);
    let all = Trace::of(&view, id(0), Ways::Forward, 9, Source::Memory).unwrap();
    assert_eq!((all.lots.len(), all.gaps), (9, vec![]));
}

#[test]
fn lots_of_other_sites_are_counted_and_what_lies_behind_is_shown() {
    let mut found = trace(&chain(7).view(), 0, Ways::Forward);
    found.narrow(|site| site != "site-1");
    let shown: Vec<Uuid> = found.lots.iter().map(|lot| lot.id).collect();
    assert_eq!(shown, [2, 3, 5, 6].map(id));
    assert_eq!(found.gaps, [Gap::OtherSites(2)]);
    assert_eq!(
        found.totals(Direction::Forward).map(|totals| (totals.lots, totals.ends, totals.edges)),
        Some((4, 1, 6))
    );
    assert_eq!(found.totals(Direction::Backward), None);
}

#[test]
fn what_is_not_known_is_said() {
    let plant = chain(4);
    let lots = [0, 1, 3].map(|lot| plant.lot(lot));
    let view = View::of(&lots, &edges(&plant.edges));
    let found = trace(&view, 0, Ways::Forward);
    let amounts: Vec<_> = found.lots.iter().map(|lot| (lot.id, lot.amount.is_some())).collect();
    assert_eq!(amounts, [(id(1), true), (id(3), false)], "the third is named by edges only");
    assert_eq!(found.gaps, [Gap::UnknownLots(1), Gap::UnknownAmounts(1)]);
    let known = view.grown(&[plant.lot(2)], &[]);
    assert_eq!(trace(&known, 0, Ways::Forward).gaps, []);
    assert!(Trace::of(&view, id(77), Ways::Both, 10, Source::Memory).is_none());
}

#[test]
fn a_lot_that_has_changed_is_known_as_it_is_now() {
    let plant = Plant { lots: vec![10, 10], edges: vec![(0, 1, 5)], cuts: Vec::new() };
    let view = plant.view();
    let adjusted = view.grown(&[LotFact { quantity: scaled(20), ..plant.lot(0) }], &[]);
    let amount = |view: &View, start| trace(view, start, Ways::Both).lots[0].amount.unwrap().to_decimal();
    assert_eq!((amount(&view, 0), amount(&adjusted, 0)), (Decimal::from(5), Decimal::from(5)), "5 of 10, 5 of 20");
    assert_eq!(adjusted.lots(), 2);
    assert!(view.grown(&[plant.lot(0)], &[]).bytes() <= view.bytes(), "nothing new takes no room");
}

#[test]
fn many_lots_are_found_again() {
    let view = chain(20_000).view();
    let merged = settled(view.clone(), Tail::Merged);
    for lot in 0..20_000 {
        let number = view.find(id(lot)).unwrap();
        assert_eq!((view.id(number), merged.find(id(lot))), (id(lot), Some(number)));
    }
    assert_eq!((view.find(id(20_000)), merged.find(id(20_000))), (None, None));
}
