//! The terms of a balance, added up from what was read.

use std::collections::{BTreeMap, HashMap, HashSet};

use lotline_domain::quantity::Dimension;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{Flows, Period, When, signed};
use crate::lots::followed::Stocked;
use crate::stock_changes::StockChangeKind;

/// The balance of one dimension, in its base unit (kilogram, litre, piece, metre). No term is negative but `opening` and `closing`, which are
/// so only when the world's times of events contradict their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// What it measures.
    pub dimension: Dimension,
    /// What was in the lots when the period began.
    pub opening: Decimal,
    /// Lots that came from nothing that is known here.
    pub registered: Decimal,
    /// From lots outside of the scope into lots of it.
    pub brought_in: Decimal,
    /// What came of amounts of another dimension, such as litres of milk that became kilograms of cheese.
    pub converted_in: Decimal,
    /// What transformations state to have come from nowhere, such as absorbed water.
    pub gained: Decimal,
    /// What counts found too much.
    pub increased: Decimal,
    /// What was registered beyond what went in.
    pub surplus: Decimal,
    /// Into lots outside of the scope.
    pub used: Decimal,
    /// What became amounts of another dimension in lots of the scope.
    pub converted_out: Decimal,
    /// What transformations state as lost.
    pub lost: Decimal,
    /// What counts found missing.
    pub decreased: Decimal,
    /// What was thrown away.
    pub scrapped: Decimal,
    /// What was taken as samples.
    pub sampled: Decimal,
    /// What was shipped to customers.
    pub shipped: Decimal,
    /// What went into registered lots and is not in them.
    pub shortfall: Decimal,
    /// What was in the lots when the period ended.
    pub closing: Decimal,
}

impl Measure {
    fn nothing(dimension: Dimension) -> Self {
        let zero = Decimal::ZERO;
        Self {
            dimension,
            opening: zero,
            registered: zero,
            brought_in: zero,
            converted_in: zero,
            gained: zero,
            increased: zero,
            surplus: zero,
            used: zero,
            converted_out: zero,
            lost: zero,
            decreased: zero,
            scrapped: zero,
            sampled: zero,
            shipped: zero,
            shortfall: zero,
            closing: zero,
        }
    }

    /// All that came, and what was there.
    pub fn came(&self) -> Decimal {
        self.opening
            + self.registered
            + self.brought_in
            + self.converted_in
            + self.gained
            + self.increased
            + self.surplus
    }

    /// All that went, and what is left.
    pub fn went(&self) -> Decimal {
        let made = self.used + self.converted_out + self.lost + self.shortfall;
        made + self.decreased + self.scrapped + self.sampled + self.shipped + self.closing
    }

    /// What nobody has explained: more than zero is a surplus.
    pub fn variance(&self) -> Decimal {
        self.surplus - self.shortfall
    }
}

/// What a lot, or a transformation with its lots of the scope, has more than what went into it, by dimension.
#[derive(Default)]
struct Making {
    excess: BTreeMap<Dimension, Decimal>,
    /// Whether something of another dimension went in.
    converts: bool,
    stated: bool,
}

/// Adds up the terms, one measure for each dimension, in their order.
pub(super) fn measures(lots: &HashMap<Uuid, Stocked>, flows: &Flows, period: Period) -> Vec<Measure> {
    let mut sums = Sums { period, measures: BTreeMap::new(), makings: HashMap::new() };
    for lot in lots.values() {
        sums.made(lot);
    }
    let mut fed = HashSet::new();
    for step in &flows.steps {
        fed.insert(step.child);
        let (from, to) = (lots.get(&step.parent), lots.get(&step.child));
        sums.step(step.quantity_base, step.dimension, from, to, period.place(step.occurred_at));
    }
    for lot in lots.values().filter(|lot| !fed.contains(&lot.id)) {
        if period.place(lot.occurred_at) == When::Within {
            sums.of(lot.dimension).registered += lot.quantity_base;
            sums.making(lot).excess.entry(lot.dimension).and_modify(|excess| *excess -= lot.quantity_base);
        }
    }
    for change in &flows.changes {
        let Some(lot) = lots.get(&change.lot_id) else { continue };
        let when = period.place(change.occurred_at);
        let measure = sums.of(lot.dimension);
        let quantity = change.quantity_base;
        match (when, change.kind) {
            (When::After, _) => continue,
            (When::Before, _) => measure.opening += signed(change),
            (When::Within, StockChangeKind::Increased) => measure.increased += quantity,
            (When::Within, StockChangeKind::Decreased) => measure.decreased += quantity,
            (When::Within, StockChangeKind::Scrapped) => measure.scrapped += quantity,
            (When::Within, StockChangeKind::Sampled) => measure.sampled += quantity,
            (When::Within, StockChangeKind::Shipped) => measure.shipped += quantity,
        }
        measure.closing += signed(change);
    }
    sums.explain();
    sums.measures.into_values().collect()
}

struct Sums {
    period: Period,
    measures: BTreeMap<Dimension, Measure>,
    /// By transformation, or by lot where none made it.
    makings: HashMap<Uuid, Making>,
}

impl Sums {
    fn of(&mut self, dimension: Dimension) -> &mut Measure {
        self.measures.entry(dimension).or_insert_with(|| Measure::nothing(dimension))
    }

    fn making(&mut self, lot: &Stocked) -> &mut Making {
        let making = self.makings.entry(lot.transformation_id.unwrap_or(lot.id)).or_default();
        making.stated = lot.transformation_id.is_some();
        making
    }

    fn made(&mut self, lot: &Stocked) {
        let when = self.period.place(lot.occurred_at);
        let measure = self.of(lot.dimension);
        match when {
            When::After => return,
            When::Before => measure.opening += lot.quantity_base,
            When::Within => {
                *self.making(lot).excess.entry(lot.dimension).or_default() += lot.quantity_base;
            }
        }
        self.of(lot.dimension).closing += lot.quantity_base;
    }

    fn step(
        &mut self,
        quantity: Decimal,
        dimension: Dimension,
        from: Option<&Stocked>,
        to: Option<&Stocked>,
        when: When,
    ) {
        if when == When::After {
            return;
        }
        let converts = to.is_some_and(|lot| lot.dimension != dimension);
        if from.is_some() {
            self.of(dimension).closing -= quantity;
            match (when, to) {
                (When::Before, _) => self.of(dimension).opening -= quantity,
                (_, None) => self.of(dimension).used += quantity,
                (_, Some(_)) if converts => self.of(dimension).converted_out += quantity,
                (_, Some(_)) => {}
            }
        }
        let Some(to) = to.filter(|_| when == When::Within) else { return };
        if from.is_none() && !converts {
            self.of(dimension).brought_in += quantity;
        }
        let making = self.making(to);
        making.converts |= converts;
        if !converts {
            *making.excess.entry(dimension).or_default() -= quantity;
        }
    }

    /// Says of what each making has more or less than what went into it whether anybody has stated it.
    fn explain(&mut self) {
        for making in std::mem::take(&mut self.makings).into_values() {
            for (dimension, excess) in making.excess {
                let measure = self.of(dimension);
                let over = excess.max(Decimal::ZERO);
                let under = over - excess;
                if making.converts {
                    measure.converted_in += over;
                    measure.lost += under;
                } else if making.stated {
                    measure.gained += over;
                    measure.lost += under;
                } else {
                    measure.surplus += over;
                    measure.shortfall += under;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
