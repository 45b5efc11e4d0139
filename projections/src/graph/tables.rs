//! The same questions answered from the tables, level by level: while there is no graph, for a moment in the past, and as its oracle.
//!
//! What a question reaches is read into a graph of its own, which then answers; so the rules of depth and amounts are written once.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use lotline_domain::id::TenantId;
use lotline_domain::quantity::Dimension;
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgPool};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::Direction;
use super::load::Stand;
use super::trace::{Source, Trace, TraceError, Ways};
use super::view::{EdgeFact, LotFact, View};
use crate::connection::Expendable;
use crate::genealogy::followed as edges;
use crate::lots::followed as lots;

/// Lots asked for in one statement.
const AT_ONCE: usize = 20_000;
/// Edges of one statement; there are no more lots than that on a level of an answer.
const MOST_EDGES: i64 = 4_000_000;

/// Which edges count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Those that came into being in the world by then.
    pub as_of: Option<DateTime<Utc>>,
    /// Those that had been decided by then.
    pub known_at: Option<DateTime<Utc>>,
}

impl Moment {
    /// Whether it is the present.
    pub fn is_now(self) -> bool {
        self == Self::default()
    }
}

/// Follows the tables from a lot. Nothing when there is no such lot.
///
/// # Errors
/// [`TraceError`].
pub async fn from_tables(
    pool: &PgPool,
    tenant: &TenantId,
    start: Uuid,
    ways: Ways,
    moment: Moment,
    most: usize,
) -> Result<Option<Trace>, TraceError> {
    let mut connection = Expendable::acquire(pool).await?;
    let db = connection.get();
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *db).await?;
    let reading = Reading::take(db, tenant, start, ways, moment, most).await?;
    sqlx::raw_sql("COMMIT").execute(db).await?;
    connection.keep();
    reading.answer(start, ways, most, Source::Tables).await
}

/// What a question reaches, as the tables say it in one snapshot.
pub(crate) struct Reading {
    stand: Stand,
    edges: Vec<EdgeFact>,
    facts: Vec<LotFact>,
}

impl Reading {
    /// Reads it. The connection is in a transaction of one snapshot.
    pub(crate) async fn take(
        db: &mut PgConnection,
        tenant: &TenantId,
        start: Uuid,
        ways: Ways,
        moment: Moment,
        most: usize,
    ) -> Result<Self, sqlx::Error> {
        let stand = Stand::read(db, tenant).await?;
        let mut found = Found { edges: Vec::new(), lots: HashSet::from([start]) };
        for direction in ways.each() {
            found.follow(db, tenant, start, direction, moment, most).await?;
        }
        let facts = facts(db, tenant, found.lots.into_iter().collect()).await?;
        Ok(Self { stand, edges: found.edges, facts })
    }

    /// Lots that are there, with how much there was of each in its base unit. One whose quantity can't be read has none.
    pub(crate) fn quantities(&self) -> impl Iterator<Item = (Uuid, Decimal)> {
        self.facts.iter().filter_map(|lot| Some((lot.id, lot.quantity?.to_decimal()?)))
    }

    /// What each lot is measured in.
    pub(crate) fn dimensions(&self) -> impl Iterator<Item = (Uuid, Dimension)> {
        self.facts.iter().map(|lot| (lot.id, lot.dimension))
    }

    /// How much went out of which lot along each edge, in its base unit.
    pub(crate) fn taken(&self) -> impl Iterator<Item = (Uuid, Decimal)> {
        self.edges.iter().filter_map(|edge| Some((edge.parent, edge.quantity?.to_decimal()?)))
    }

    /// The answer. Nothing when the lot is not there.
    pub(crate) async fn answer(
        self,
        start: Uuid,
        ways: Ways,
        most: usize,
        source: Source,
    ) -> Result<Option<Trace>, TraceError> {
        if !self.facts.iter().any(|lot| lot.id == start) {
            return Ok(None);
        }
        let answer = spawn_blocking(move || {
            let mut view = View::of(&self.facts, &self.edges);
            view.position = self.stand.position();
            Trace::of(&view, start, ways, most, source)
        });
        Ok(answer.await?)
    }
}

struct Found {
    edges: Vec<EdgeFact>,
    lots: HashSet<Uuid>,
}

impl Found {
    /// Reads one level after another until nothing is new, or until one more lot is found than is asked for.
    async fn follow(
        &mut self,
        db: &mut PgConnection,
        tenant: &TenantId,
        start: Uuid,
        direction: Direction,
        moment: Moment,
        most: usize,
    ) -> Result<(), sqlx::Error> {
        let mut visited = HashSet::from([start]);
        let mut level = vec![start];
        while !level.is_empty() && visited.len() <= most + 1 {
            let mut next = Vec::new();
            for some in level.chunks(AT_ONCE) {
                let edges = edges::next_to(db, tenant, some, direction, moment, MOST_EDGES).await?;
                for edge in &edges {
                    let lot = match direction {
                        Direction::Backward => edge.parent,
                        Direction::Forward => edge.child,
                    };
                    if visited.insert(lot) {
                        next.push(lot);
                    }
                }
                self.edges.extend(edges);
            }
            level = next;
        }
        self.lots.extend(visited);
        Ok(())
    }
}

async fn facts(db: &mut PgConnection, tenant: &TenantId, ids: Vec<Uuid>) -> Result<Vec<LotFact>, sqlx::Error> {
    let mut facts = Vec::with_capacity(ids.len());
    for some in ids.chunks(AT_ONCE) {
        facts.extend(lots::facts_of(db, tenant, some).await?);
    }
    Ok(facts)
}
