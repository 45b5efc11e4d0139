//! Mass balance: where the material of some lots came from, and what became of it.
//!
//! ```text
//! opening + registered + brought in + converted in + gained + increased + surplus
//!     = used + converted out + lost + decreased + scrapped + sampled + shipped + shortfall + closing
//! ```
//!
//! Each term is added up from facts of its own, and `closing` from those of each lot, so that the sum coming out even says something. What went
//! from one lot of the scope into another is on neither side. What a transformation states as loss and gain is *explained*; what a lot has more
//! or less than what it was registered from is not: that is the variance which somebody has to account for.
//!
//! A balance is exact of the lots that its first snapshot knew: their edges and changes are read once the genealogy is at least as far, and an
//! edge to a lot that came later counts as used.
//!
//! [`recall`] asks the same of one lot in everything that was made from it: how much of it is still there, and where the rest is.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use lotline_domain::id::TenantId;
use lotline_domain::position::Position;
use rust_decimal::Decimal;
use sqlx::PgPool;
use thiserror::Error;
use tokio::time::Instant;
use uuid::Uuid;

use crate::connection::Expendable;
use crate::genealogy::followed::{self as edges, Step};
use crate::graph::{Direction, TraceError};
use crate::lots::followed::{self as lots, Stocked};
use crate::model::Model;
use crate::progress::{Progress, WaitError};
use crate::stock_changes::{self, StockChange, StockChangeKind};

pub use measure::Measure;

mod measure;
pub mod recall;

/// Most lots of a balance.
pub const MOST_LOTS: usize = 200_000;
/// Lots asked for in one statement.
const AT_ONCE: usize = 20_000;

/// Which lots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// These.
    Lots(Vec<Uuid>),
    /// Of a product at a site, by the name or GTIN under which they were registered.
    Product {
        /// Where.
        site: String,
        /// Which.
        product: String,
    },
}

/// Between which times in the world: from the first on, and before the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Period {
    /// Nothing means since ever.
    pub from: Option<DateTime<Utc>>,
    /// Nothing means up to now.
    pub until: Option<DateTime<Utc>>,
}

/// A balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// How many lots of the scope there were before the period ended.
    pub lots: usize,
    /// How many were asked for and are not there.
    pub missing: usize,
    /// As of which position of the read models at least.
    pub position: Position,
    /// One for each dimension in which lots of the scope are measured.
    pub measures: Vec<Measure>,
}

/// A balance was not struck.
#[derive(Debug, Error)]
pub enum BalanceError {
    /// PostgreSQL can't be reached or refused.
    #[error("the balance could not be read")]
    Database(#[from] sqlx::Error),
    /// The genealogy does not get as far as the lots.
    #[error("the genealogy is behind the lots")]
    Behind(#[from] WaitError),
    /// The lots of the scope could not be followed.
    #[error("the lots could not be followed")]
    Followed(#[from] TraceError),
    /// More than [`MOST_LOTS`].
    #[error("the scope has more than {MOST_LOTS} lots")]
    TooMany,
}

/// Strikes the balance of a scope over a period. Lots that are not there are left out and counted; no id may come twice.
///
/// # Errors
/// [`BalanceError`].
pub async fn balance(
    pool: &PgPool,
    progress: &Progress,
    tenant: &TenantId,
    scope: &Scope,
    period: Period,
    deadline: Instant,
) -> Result<Balance, BalanceError> {
    let (mut lots, position) = read_lots(pool, tenant, scope, period.until).await?;
    let missing = match scope {
        Scope::Lots(ids) => ids.len() - lots.len(),
        Scope::Product { .. } => 0,
    };
    lots.retain(|lot| period.has_begun(lot.occurred_at));
    progress.wait_for(&[Model::Genealogy], &position, deadline).await?;
    let ids: Vec<Uuid> = lots.iter().map(|lot| lot.id).collect();
    let flows = read_flows(pool, tenant, &ids).await?;
    let lots: HashMap<Uuid, Stocked> = lots.into_iter().map(|lot| (lot.id, lot)).collect();
    let measures = measure::measures(&lots, &flows, period);
    Ok(Balance { lots: lots.len(), missing, position, measures })
}

/// What happened to the lots of a scope.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flows {
    /// Every edge from or to one of them, once.
    pub(crate) steps: Vec<Step>,
    pub(crate) changes: Vec<StockChange>,
}

async fn read_lots(
    pool: &PgPool,
    tenant: &TenantId,
    scope: &Scope,
    until: Option<DateTime<Utc>>,
) -> Result<(Vec<Stocked>, Position), BalanceError> {
    let mut connection = Expendable::acquire(pool).await?;
    let db = connection.get();
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *db).await?;
    let position = lots::position(db, tenant).await?;
    let found = match scope {
        Scope::Lots(ids) if ids.len() > MOST_LOTS => return Err(BalanceError::TooMany),
        Scope::Lots(ids) => {
            let mut found = Vec::with_capacity(ids.len());
            for some in ids.chunks(AT_ONCE) {
                found.extend(lots::stocked(db, tenant, some).await?);
            }
            found
        }
        Scope::Product { site, product } => {
            lots::stocked_of_product(db, tenant, (site, product), until, MOST_LOTS as i64 + 1).await?
        }
    };
    sqlx::raw_sql("COMMIT").execute(db).await?;
    connection.keep();
    if found.len() > MOST_LOTS {
        return Err(BalanceError::TooMany);
    }
    Ok((found, position))
}

async fn read_flows(pool: &PgPool, tenant: &TenantId, ids: &[Uuid]) -> Result<Flows, BalanceError> {
    let mut connection = Expendable::acquire(pool).await?;
    let db = connection.get();
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *db).await?;
    let mut flows = Flows::default();
    let mut seen = HashSet::new();
    for some in ids.chunks(AT_ONCE) {
        for direction in [Direction::Forward, Direction::Backward] {
            let steps = edges::steps_of(db, tenant, some, direction).await?;
            flows.steps.extend(steps.into_iter().filter(|step| seen.insert((step.parent, step.child))));
        }
        flows.changes.extend(stock_changes::of_lots(db, tenant, some).await?);
    }
    sqlx::raw_sql("COMMIT").execute(db).await?;
    connection.keep();
    Ok(flows)
}

/// When something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    Within,
    After,
}

impl Period {
    fn place(self, at: DateTime<Utc>) -> When {
        if self.from.is_some_and(|from| at < from) {
            When::Before
        } else if self.until.is_some_and(|until| at >= until) {
            When::After
        } else {
            When::Within
        }
    }

    fn has_begun(self, at: DateTime<Utc>) -> bool {
        self.place(at) != When::After
    }
}

/// What a change adds to its lot.
pub(crate) fn signed(change: &StockChange) -> Decimal {
    match change.kind {
        StockChangeKind::Increased => change.quantity_base,
        StockChangeKind::Decreased
        | StockChangeKind::Scrapped
        | StockChangeKind::Sampled
        | StockChangeKind::Shipped => -change.quantity_base,
    }
}
