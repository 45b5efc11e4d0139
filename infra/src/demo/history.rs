//! `lotline demo --lots N`: a long history of a plant that mixes, written by ordinary commands before the operators begin.
//!
//! Deliveries → ingredients → vats → products → packs, in waves. All lots of a level of a wave are asked for side by side and answered before the
//! next level begins, so what a lot is made of is in the log before it. A few deliveries, such as salt, go into a part of everything of many
//! waves: from them a trace finds tens of thousands of lots, from most others a few hundred.
//!
//! The planning is pure: a seed gives the same lots again. It keeps books of what is left, so that no command is refused.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use lotline_commands::bus::{CommandBus, SubmitError};
use lotline_domain::command::{Command, CommandRequest, ParentInput, QuantityInput, RegisterLot};
use lotline_domain::id::{ActorId, CommandId, CorrelationId, SiteId, StreamKey};
use lotline_domain::lot::{LotRef, LotType};
use lotline_domain::port::{Clock, Ids};
use rand::rngs::SmallRng;
use rand::seq::IndexedMutRandom;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Lots of a wave.
const WAVE: u64 = 5_000;
/// Commands that wait for an answer at once.
const AT_ONCE: usize = 1_000;
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(100);
const MAX_TRIES: u32 = 300;
const ACTOR: &str = "op-history-1";
/// Grams of a delivery.
const DELIVERY: u64 = 1_000_000_000;
/// Grams of a delivery that goes into a part of everything, and how much of it goes into one lot.
const HOT_DELIVERY: u64 = 900_000_000_000;
const HOT_PART: u64 = 100;
/// Hot deliveries at hand, and after how many waves they are replaced.
const HOT: usize = 4;
const HOT_WAVES: u64 = 10;

/// A level: what its lots are, and how many of a hundred lots are of it.
struct Level {
    product: &'static str,
    lot_type: LotType,
    share: u64,
}

const LEVELS: [Level; 5] = [
    Level { product: "milk, raw", lot_type: LotType::Raw, share: 10 },
    Level { product: "milk, pasteurised", lot_type: LotType::Ingredient, share: 20 },
    Level { product: "vat", lot_type: LotType::Intermediate, share: 10 },
    Level { product: "yoghurt", lot_type: LotType::Intermediate, share: 20 },
    Level { product: "yoghurt, packed", lot_type: LotType::Finished, share: 40 },
];

/// A lot of the plan.
#[derive(Debug, Clone)]
struct Stock {
    code: String,
    left: u64,
}

/// The lots of a history, wave after wave.
#[derive(Debug)]
pub struct Plan {
    random: SmallRng,
    label: String,
    /// How many are still to be planned.
    rest: u64,
    planned: u64,
    wave: u64,
    hot: Vec<Stock>,
}

impl Plan {
    /// Of so many lots, by a seed. `label` is at most 16 characters; use another one for every history on the same data.
    pub fn new(seed: u64, label: impl Into<String>, lots: u64) -> Self {
        let random = SmallRng::seed_from_u64(seed);
        Self { random, label: label.into(), rest: lots, planned: 0, wave: 0, hot: Vec::new() }
    }

    fn lot(&mut self, level: &Level, quantity: u64, parents: Vec<(String, u64)>) -> (RegisterLot, Stock) {
        self.planned += 1;
        self.rest -= 1;
        let code = format!("H-{}-{:08}", self.label, self.planned);
        let grams = |value: u64| QuantityInput { value: value.to_string(), unit: "GRM".to_owned() };
        let parent = |(code, part)| ParentInput { lot: LotRef::Code(code), quantity: grams(part) };
        let is_delivery = level.lot_type == LotType::Raw;
        let command = RegisterLot {
            code: code.clone(),
            lot_type: level.lot_type,
            product: level.product.to_owned(),
            quantity: grams(quantity),
            temperature_c: None,
            supplier_lot: is_delivery.then(|| format!("S-{}-{}", self.label, self.planned)),
            expires_on: None,
            location: None,
            attributes: std::collections::BTreeMap::new(),
            parents: parents.into_iter().map(parent).collect(),
        };
        (command, Stock { code, left: quantity })
    }

    /// Takes a quarter of what is left of one to three of the lots, and now and then some of a hot one.
    fn parts(&mut self, from: &mut [Stock]) -> Vec<(String, u64)> {
        let mut parts = Vec::with_capacity(4);
        let count = self.random.random_range(1..=3_usize).min(from.len());
        let chosen = rand::seq::index::sample(&mut self.random, from.len(), count);
        for place in chosen {
            let stock = &mut from[place];
            let part = stock.left / 4;
            if part > 0 {
                stock.left -= part;
                parts.push((stock.code.clone(), part));
            }
        }
        if self.random.random_ratio(1, 5)
            && let Some(stock) = self.hot.choose_mut(&mut self.random)
            && stock.left >= HOT_PART
        {
            stock.left -= HOT_PART;
            parts.push((stock.code.clone(), HOT_PART));
        }
        parts
    }
}

/// Levels of a wave; what a level is made of is in those before it.
impl Iterator for Plan {
    type Item = Vec<Vec<RegisterLot>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest == 0 {
            return None;
        }
        let mut levels = Vec::with_capacity(LEVELS.len());
        let mut before: Vec<Stock> = Vec::new();
        for (number, level) in LEVELS.iter().enumerate() {
            let mut lots = Vec::new();
            let mut stocks = Vec::new();
            if number == 0 && self.wave.is_multiple_of(HOT_WAVES) {
                self.hot.clear();
                for _ in 0..HOT.min(self.rest as usize) {
                    let (lot, stock) = self.lot(level, HOT_DELIVERY, Vec::new());
                    lots.push(lot);
                    self.hot.push(stock);
                }
            }
            for _ in 0..(WAVE * level.share / 100).min(self.rest) {
                let parts = if number == 0 { Vec::new() } else { self.parts(&mut before) };
                let taken: u64 = parts.iter().map(|(_, part)| part).sum();
                let (lot, stock) = self.lot(level, if taken == 0 { DELIVERY } else { taken }, parts);
                lots.push(lot);
                stocks.push(stock);
            }
            levels.push(lots);
            before = stocks;
        }
        self.wave += 1;
        Some(levels)
    }
}

/// Who writes a history.
pub struct Writing {
    /// The way to the writers.
    pub bus: CommandBus,
    /// The plant.
    pub site: SiteId,
    /// For idempotency keys and progress.
    pub clock: Arc<dyn Clock>,
    /// For idempotency keys.
    pub ids: Arc<dyn Ids>,
}

impl Writing {
    /// Writes all of a plan, or as much as there is time for until `stop`, and gives how many lots that were.
    ///
    /// # Errors
    /// A command was refused, or the writer was away for long.
    pub async fn write(&self, plan: Plan, stop: &CancellationToken) -> anyhow::Result<u64> {
        let (all, started) = (plan.rest, Instant::now());
        let (mut written, mut told) = (0, started);
        for level in plan.flatten() {
            let count = level.len() as u64;
            let asked = stream::iter(level).map(|lot| self.register(lot)).buffer_unordered(AT_ONCE);
            match stop.run_until_cancelled(asked.try_for_each(|()| std::future::ready(Ok(())))).await {
                Some(done) => done?,
                None => return Ok(written),
            }
            written += count;
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                let rate = written as f64 / started.elapsed().as_secs_f64();
                let left = (all - written) as f64 / rate;
                tracing::info!("{written} of {all} lots of the history are written, {rate:.0}/s, {left:.0} s left");
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!("a history of {written} lots is written, in {seconds:.1} s");
        Ok(written)
    }

    async fn register(&self, lot: RegisterLot) -> anyhow::Result<()> {
        let id = self.ids.uuid_v7(self.clock.now());
        let request = CommandRequest {
            tenant: self.bus.tenant().clone(),
            stream: StreamKey::Site(self.site.clone()),
            actor: ActorId::new(ACTOR).context("the name of who writes the history is bad")?,
            command_id: CommandId(id),
            correlation_id: CorrelationId(id),
            traceparent: None,
            expected_version: None,
            occurred_at: None,
            reason: None,
            command: Command::RegisterLot(lot),
        };
        for _ in 0..MAX_TRIES {
            match self.bus.submit(request.clone()).await {
                Ok(_) => return Ok(()),
                Err(SubmitError::Busy { .. } | SubmitError::Unavailable) => sleep(RETRY).await,
                Err(error) => return Err(error).context("a lot of the history was not taken"),
            }
        }
        bail!("the writer of {} did not take a lot of the history for long", self.site)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn levels(seed: u64, lots: u64) -> Vec<Vec<RegisterLot>> {
        Plan::new(seed, "test", lots).flatten().collect()
    }

    #[test]
    fn a_history_has_as_many_lots_as_asked_for_and_no_more_is_taken_than_there_is() {
        for count in [0, 1, 3, 4_999, 60_001] {
            let mut left: HashMap<String, u64> = HashMap::new();
            let mut edges = 0;
            for level in levels(7, count) {
                let mut made = Vec::new();
                for lot in level {
                    for parent in lot.parents {
                        let LotRef::Code(code) = parent.lot else { panic!("parents are named by code") };
                        let stock = left.get_mut(&code).expect("a parent is of a level before");
                        let part: u64 = parent.quantity.value.parse().unwrap();
                        *stock = stock.checked_sub(part).expect("there is as much");
                        edges += 1;
                    }
                    made.push((lot.code, lot.quantity.value.parse().unwrap()));
                }
                for (code, quantity) in made {
                    assert!(left.insert(code, quantity).is_none(), "codes are new");
                }
            }
            assert_eq!(left.len() as u64, count);
            assert!(count < 60_000 || edges > 100_000, "{edges} edges");
        }
    }

    #[test]
    fn a_seed_gives_the_same_lots_and_some_deliveries_are_in_many() {
        assert_eq!(levels(1, 12_000), levels(1, 12_000));
        assert_ne!(levels(1, 12_000), levels(2, 12_000));
        let mut children: HashMap<LotRef, u64> = HashMap::new();
        for parent in levels(1, 50_000).into_iter().flatten().flat_map(|lot| lot.parents) {
            *children.entry(parent.lot).or_default() += 1;
        }
        let most = children.values().max().copied().unwrap_or_default();
        assert!(most > 1_500, "the hottest has {most} children");
    }
}
