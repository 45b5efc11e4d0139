//! What the story's people have at hand: lots that passed their gate, and how much is left of each.

use lotline_domain::command::{ParentInput, QuantityInput};
use lotline_domain::lot::LotRef;

/// Stages of production, in the order in which material passes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Raw milk, in litres.
    RawMilk,
    /// Pasteurised milk, in litres.
    PasteurisedMilk,
    /// Starter culture, in grams.
    Culture,
    /// Fruit preparation, in kilograms.
    Fruit,
    /// Cups with lids, in pieces.
    Cups,
}

impl Kind {
    /// UNECE Rec 20 code in which the story counts it.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::RawMilk | Self::PasteurisedMilk => "LTR",
            Self::Culture => "GRM",
            Self::Fruit => "KGM",
            Self::Cups => "C62",
        }
    }
}

/// A lot and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stock {
    /// Its code.
    pub(super) code: String,
    /// What it is.
    pub(super) kind: Kind,
    /// In the unit of its kind.
    pub(super) left: u64,
}

/// All usable lots, oldest first.
#[derive(Debug, Default)]
pub(super) struct Shelf(Vec<Stock>);

impl Shelf {
    /// Puts a lot there.
    pub(super) fn put(&mut self, code: String, kind: Kind, amount: u64) {
        self.0.push(Stock { code, kind, left: amount });
    }

    /// How much of a kind there is.
    pub(super) fn left(&self, kind: Kind) -> u64 {
        self.0.iter().filter(|stock| stock.kind == kind).map(|stock| stock.left).sum()
    }

    /// The oldest lot of a kind that is not used up.
    pub(super) fn oldest(&self, kind: Kind) -> Option<&Stock> {
        self.0.iter().find(|stock| stock.kind == kind && stock.left > 0)
    }

    /// Takes an amount out of the oldest lots. Takes less when there is less.
    pub(super) fn take(&mut self, kind: Kind, amount: u64) -> Vec<ParentInput> {
        let mut missing = amount;
        let mut parents = Vec::new();
        for stock in self.0.iter_mut().filter(|stock| stock.kind == kind) {
            let taken = stock.left.min(missing);
            if taken > 0 {
                stock.left -= taken;
                missing -= taken;
                parents.push(parent(&stock.code, taken, kind));
            }
        }
        self.0.retain(|stock| stock.left > 0);
        parents
    }
}

/// An amount of a lot as an input.
pub(super) fn parent(code: &str, amount: u64, kind: Kind) -> ParentInput {
    ParentInput { lot: LotRef::Code(code.to_owned()), quantity: quantity(amount, kind.unit()) }
}

/// An amount as a person types it.
pub(super) fn quantity(amount: u64, unit: &str) -> QuantityInput {
    QuantityInput { value: amount.to_string(), unit: unit.to_owned() }
}
