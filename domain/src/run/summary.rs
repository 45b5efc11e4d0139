//! What a run came to.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::event::{PhaseSummary, RunSummary};
use super::state::OpenRun;
use crate::lot::{Lots, base_unit};
use crate::quantity::{Dimension, Quantity};
use crate::timestamp::Timestamp;

impl OpenRun {
    /// The summary of a run that ends at a time in the world, in the phase `last`.
    pub(super) fn summary(&self, last: u32, ends_at: Timestamp, lots: &Lots) -> RunSummary {
        let ended = Self { at: self.at.max(ends_at), ..self.clone() };
        let phases: Vec<PhaseSummary> = ended
            .spent_until(last)
            .into_iter()
            .map(|spent| PhaseSummary {
                phase: spent.phase,
                duration_s: seconds(spent.micros),
                held_s: seconds(spent.held_micros),
                lots: u32::try_from(self.lots_in(spent.phase).count()).unwrap_or(u32::MAX),
                amounts: self.amounts(spent.phase),
            })
            .collect();
        let open_gates = self.definition.gates.iter().filter(|gate| self.lacking(gate, lots).is_some());
        let spent = ended.spent_until(last);
        RunSummary {
            duration_s: seconds(spent.iter().map(|phase| phase.micros).sum()),
            held_s: seconds(spent.iter().map(|phase| phase.held_micros).sum()),
            yield_ratio: self.yield_ratio(&phases, last),
            phases,
            decisions: self.counts,
            open_gates: open_gates.map(|gate| gate.key.clone()).collect(),
        }
    }

    /// What there was of the lots of a phase, by dimension.
    fn amounts(&self, phase: u32) -> Vec<Quantity> {
        let mut sums: BTreeMap<Dimension, Decimal> = BTreeMap::new();
        for (_, lot) in self.lots_in(phase) {
            if let Some(Some(quantity)) = lot.phases.get(&phase) {
                let sum = sums.entry(quantity.unit().dimension()).or_default();
                *sum = sum.saturating_add(quantity.in_base());
            }
        }
        sums.into_iter().filter_map(|(dimension, sum)| Quantity::new(sum, base_unit(dimension)).ok()).collect()
    }

    fn yield_ratio(&self, phases: &[PhaseSummary], last: u32) -> Option<Decimal> {
        let first = self.phases_with_lots().first().copied().filter(|first| *first < last)?;
        let amount = |number: u32| match phases.iter().find(|phase| phase.phase == number)?.amounts.as_slice() {
            [only] => Some(*only),
            _ => None,
        };
        let (put_in, given) = (amount(first)?, amount(last)?);
        if put_in.unit() != given.unit() {
            return None;
        }
        given.in_base().checked_div(put_in.in_base()).map(|ratio| ratio.round_dp(6).normalize())
    }
}

fn seconds(micros: i64) -> u64 {
    u64::try_from(micros / 1_000_000).unwrap_or(0)
}
