//! How much of one lot is in everything that was made from it, and what became of it there.
//!
//! Of each lot on the way the share of the start that is in it goes with whatever happened to that lot: a tenth of a lot scrapped is a tenth of what
//! it had of the start. So the parts add up to the whole but for what counts found too much, and for roundings below 10^-18 at each step.
//!
//! All is read in one snapshot of the tables, so nothing is between two places.

use std::collections::{HashMap, HashSet};

use lotline_domain::id::TenantId;
use lotline_domain::quantity::Dimension;
use rust_decimal::Decimal;
use sqlx::PgPool;
use uuid::Uuid;

use super::{AT_ONCE, BalanceError, signed};
use crate::connection::Expendable;
use crate::graph::amount::Scaled;
use crate::graph::{Amount, Moment, Reading, Source, Trace, Ways};
use crate::stock_changes::{self, StockChangeKind};

/// What became of an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Whereabouts {
    /// Still there.
    pub on_hand: Decimal,
    /// Thrown away.
    pub scrapped: Decimal,
    /// Taken as samples.
    pub sampled: Decimal,
    /// Shipped to customers.
    pub shipped: Decimal,
    /// Found missing by counts.
    pub decreased: Decimal,
    /// Found too much by counts: what is there more of than came.
    pub increased: Decimal,
}

/// A lot that a recall reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Which.
    pub id: Uuid,
    /// Fewest steps from the start, which has 0.
    pub depth: u32,
    /// What became of all of it, in its own base unit.
    pub all: Whereabouts,
    /// How much of the start came into it, in the start's base unit. Nothing when that is not known.
    pub attributed: Option<Decimal>,
    /// What became of that. Nothing when that is not known.
    pub of_start: Option<Whereabouts>,
}

/// What a recall of a lot reaches.
#[derive(Debug, Clone)]
pub struct Recall {
    /// The lots on the way, with what is missing in it.
    pub trace: Trace,
    /// How much of the start there was, in its base unit.
    pub quantity: Decimal,
    /// The start, then every lot of the trace in its order.
    pub lots: Vec<Reached>,
    /// What each lot is measured in.
    pub dimensions: HashMap<Uuid, Dimension>,
}

impl Whereabouts {
    /// All that came.
    pub fn sum(&self) -> Decimal {
        self.on_hand + self.scrapped + self.sampled + self.shipped + self.decreased - self.increased
    }

    fn add(&mut self, other: &Self) {
        self.on_hand += other.on_hand;
        self.scrapped += other.scrapped;
        self.sampled += other.sampled;
        self.shipped += other.shipped;
        self.decreased += other.decreased;
        self.increased += other.increased;
    }

    /// Without zeros at the end.
    fn normalized(self) -> Self {
        Self {
            on_hand: self.on_hand.normalize(),
            scrapped: self.scrapped.normalize(),
            sampled: self.sampled.normalize(),
            shipped: self.shipped.normalize(),
            decreased: self.decreased.normalize(),
            increased: self.increased.normalize(),
        }
    }

    /// The share of each term that belongs to `amount` of a `whole`. Nothing when it can't be said.
    fn share(&self, amount: Amount, whole: Decimal) -> Option<Self> {
        let whole = Scaled::of(whole)?;
        let of = |part: Decimal| match Scaled::of(part) {
            Some(part) => amount.share(part, whole).map(Amount::to_decimal),
            None => Some(Decimal::ZERO),
        };
        Some(Self {
            on_hand: of(self.on_hand)?,
            scrapped: of(self.scrapped)?,
            sampled: of(self.sampled)?,
            shipped: of(self.shipped)?,
            decreased: of(self.decreased)?,
            increased: of(self.increased)?,
        })
    }
}

impl Recall {
    /// What became of the start in all lots that may be seen and of which it is known.
    pub fn total(&self) -> Whereabouts {
        let mut total = Whereabouts::default();
        self.lots.iter().filter_map(|lot| lot.of_start.as_ref()).for_each(|part| total.add(part));
        total.normalized()
    }

    /// What of the start is nowhere in [`Recall::total`].
    pub fn unaccounted(&self) -> Decimal {
        (self.quantity - self.total().sum()).normalize()
    }

    /// Leaves out lots of sites that the caller may not see.
    pub fn narrow(&mut self, sees: impl Fn(&str) -> bool) {
        self.trace.narrow(sees);
        let shown: HashSet<Uuid> = self.trace.lots.iter().map(|lot| lot.id).collect();
        self.lots.retain(|lot| lot.depth == 0 || shown.contains(&lot.id));
    }
}

/// Follows a lot to all that was made from it, and says what became of it. Nothing when there is no such lot.
///
/// # Errors
/// [`BalanceError`].
pub async fn recall(
    pool: &PgPool,
    tenant: &TenantId,
    start: Uuid,
    most: usize,
) -> Result<Option<Recall>, BalanceError> {
    let mut connection = Expendable::acquire(pool).await?;
    let db = connection.get();
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *db).await?;
    let reading = Reading::take(db, tenant, start, Ways::Forward, Moment::default(), most).await?;
    let ids: Vec<Uuid> = reading.quantities().map(|(id, _)| id).collect();
    let mut changes = Vec::new();
    for some in ids.chunks(AT_ONCE) {
        changes.extend(stock_changes::of_lots(db, tenant, some).await?);
    }
    sqlx::raw_sql("COMMIT").execute(db).await?;
    connection.keep();

    let mut stock: HashMap<Uuid, Whereabouts> = HashMap::new();
    for (id, quantity) in reading.quantities() {
        stock.entry(id).or_default().on_hand += quantity;
    }
    for (parent, quantity) in reading.taken() {
        stock.entry(parent).or_default().on_hand -= quantity;
    }
    for change in &changes {
        let place = stock.entry(change.lot_id).or_default();
        place.on_hand += signed(change);
        *match change.kind {
            StockChangeKind::Increased => &mut place.increased,
            StockChangeKind::Decreased => &mut place.decreased,
            StockChangeKind::Scrapped => &mut place.scrapped,
            StockChangeKind::Sampled => &mut place.sampled,
            StockChangeKind::Shipped => &mut place.shipped,
        } += change.quantity_base;
    }
    let quantities: HashMap<Uuid, Decimal> = reading.quantities().collect();
    let dimensions = reading.dimensions().collect();
    let Some(trace) = reading.answer(start, Ways::Forward, most, Source::Tables).await? else { return Ok(None) };
    let quantity = quantities.get(&start).copied().unwrap_or_default();
    let whole = Scaled::of(quantity).and_then(Amount::whole);
    let found = trace.lots.iter().map(|lot| (lot.id, lot.depth, lot.amount));
    let lots = std::iter::once((start, 0, whole)).chain(found).map(|(id, depth, amount)| {
        let all = stock.get(&id).copied().unwrap_or_default().normalized();
        let of_lot = quantities.get(&id).copied().unwrap_or_default();
        let of_start = amount.and_then(|amount| all.share(amount, of_lot));
        Reached { id, depth, all, attributed: amount.map(Amount::to_decimal), of_start }
    });
    Ok(Some(Recall { quantity, lots: lots.collect(), trace, dimensions }))
}
