//! Shares the pieces of a pool's work among living nodes: `cluster.member` and `cluster.lease`.
//!
//! Every [`LeaseOptions::renew_every`] a node says that it lives, renews what it holds, gives back what is more than its fair share, and takes
//! what nobody holds. All of it happens in one transaction under a lock on the pool, so that two nodes never take the same piece.
//! Times are PostgreSQL's, so the nodes' clocks do not matter. A node that can't renew stops counting on its leases when they
//! are over by its own measure, which began before PostgreSQL's.

use std::collections::BTreeSet;
use std::time::Duration;

use lotline_domain::ownership::Membership;
use lotline_domain::port::BoxFuture;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// How work is shared.
#[derive(Debug, Clone)]
pub struct LeaseOptions {
    /// Name of the work, such as `projections/lotline.dairy.ledger.v1`. Nodes of one pool share its pieces.
    pub pool: String,
    /// Name of this node, unique in the pool.
    pub node: String,
    /// Pieces of work, numbered from 0.
    pub items: u32,
    /// How long a lease lasts: the time after which others take over from a node that has died.
    pub lasts: Duration,
    /// How often it is renewed.
    pub renew_every: Duration,
}

impl LeaseOptions {
    /// Leases of 6 s, renewed every 2 s.
    pub fn new(pool: impl Into<String>, node: impl Into<String>, items: u32) -> Self {
        let (lasts, renew_every) = (Duration::from_secs(6), Duration::from_secs(2));
        Self { pool: pool.into(), node: node.into(), items, lasts, renew_every }
    }
}

/// This node's part of a pool.
pub struct PostgresLeases {
    database: PgPool,
    /// Between turns.
    session: Option<PgConnection>,
    options: LeaseOptions,
    /// Whether this node is fit for the work.
    fit: watch::Receiver<bool>,
    held: Option<BTreeSet<u32>>,
    next_turn: Instant,
    good_until: Instant,
}

/// A lease as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lease {
    item: u32,
    mine: bool,
    over: bool,
}

impl PostgresLeases {
    /// Takes part from the first call of [`Membership::changed`] on.
    pub fn new(database: PgPool, options: LeaseOptions) -> Self {
        let now = Instant::now();
        let (_, fit) = watch::channel(true);
        Self { database, session: None, options, fit, held: None, next_turn: now, good_until: now }
    }

    /// Takes part only while this node is fit for the work, and leaves it to others meanwhile.
    #[must_use]
    pub fn only_while(self, fit: watch::Receiver<bool>) -> Self {
        Self { fit, ..self }
    }

    async fn turn(&mut self) -> Result<BTreeSet<u32>, sqlx::Error> {
        if *self.fit.borrow() { self.take_turn().await } else { self.give_back().await.map(|()| BTreeSet::new()) }
    }

    async fn take_turn(&mut self) -> Result<BTreeSet<u32>, sqlx::Error> {
        let (pool, node) = (self.options.pool.as_str(), self.options.node.as_str());
        let lasts = self.options.lasts.as_secs_f64();
        // A turn may be dropped half-way, with a transaction open that sqlx does not know of. So its connection is its own, and is closed then.
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.database.acquire().await?.detach(),
        };
        let mut tx = session.begin().await?;
        // A node that is paused in its turn must not hold up the others' for longer than this.
        sqlx::query!("SET LOCAL idle_in_transaction_session_timeout = '1s'").execute(&mut *tx).await?;
        // The database's own queue: nodes take their turns one after the other, and a node that dies in its turn loses the lock.
        sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", pool).fetch_one(&mut *tx).await?;
        sqlx::query!(
            "INSERT INTO cluster.member (pool, node, seen_at) VALUES ($1, $2, clock_timestamp())
             ON CONFLICT (pool, node) DO UPDATE SET seen_at = EXCLUDED.seen_at",
            pool,
            node,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "DELETE FROM cluster.member WHERE pool = $1 AND seen_at < clock_timestamp() - make_interval(secs => $2)",
            pool,
            lasts,
        )
        .execute(&mut *tx)
        .await?;
        let members = sqlx::query_scalar!("SELECT node FROM cluster.member WHERE pool = $1 ORDER BY node", pool)
            .fetch_all(&mut *tx)
            .await?;
        let leases = sqlx::query!(
            "SELECT item, node = $2 AS \"mine!\", until < clock_timestamp() AS \"over!\" FROM cluster.lease WHERE pool = $1",
            pool,
            node,
        )
        .fetch_all(&mut *tx)
        .await?;
        let leases: Vec<Lease> =
            leases.iter().map(|row| Lease { item: row.item as u32, mine: row.mine, over: row.over }).collect();
        let rank = members.iter().position(|member| member == node).unwrap_or(0);
        let mine = share(self.options.items, rank as u32, members.len() as u32, &leases);
        let items: Vec<i32> = mine.iter().map(|item| *item as i32).collect();
        sqlx::query!(
            "DELETE FROM cluster.lease WHERE pool = $1 AND node = $2 AND NOT item = ANY($3)",
            pool,
            node,
            &items
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "INSERT INTO cluster.lease (pool, item, node, until)
             SELECT $1, item, $2, clock_timestamp() + make_interval(secs => $4) FROM unnest($3::integer[]) AS item
             ON CONFLICT (pool, item) DO UPDATE SET node = EXCLUDED.node, until = EXCLUDED.until",
            pool,
            node,
            &items,
            lasts,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.session = Some(session);
        Ok(mine)
    }

    async fn give_back(&self) -> Result<(), sqlx::Error> {
        let (pool, node) = (self.options.pool.as_str(), self.options.node.as_str());
        let mut tx = self.database.begin().await?;
        sqlx::query!("DELETE FROM cluster.lease WHERE pool = $1 AND node = $2", pool, node).execute(&mut *tx).await?;
        sqlx::query!("DELETE FROM cluster.member WHERE pool = $1 AND node = $2", pool, node).execute(&mut *tx).await?;
        tx.commit().await
    }
}

/// What this node is to hold: first what it holds already, then what is free, up to its fair share. When the pieces do not divide evenly,
/// the nodes that come first have one more.
fn share(items: u32, rank: u32, members: u32, leases: &[Lease]) -> BTreeSet<u32> {
    let members = members.max(1);
    let fair = items / members + u32::from(rank < items % members);
    let known = |item| leases.iter().find(|lease| lease.item == item);
    let mine = (0..items).filter(|item| known(*item).is_some_and(|lease| lease.mine));
    let free = (0..items).filter(|item| known(*item).is_none_or(|lease| !lease.mine && lease.over));
    mine.chain(free).take(fair as usize).collect()
}

impl Membership for PostgresLeases {
    fn changed(&mut self) -> BoxFuture<'_, BTreeSet<u32>> {
        Box::pin(async move {
            loop {
                sleep_until(self.next_turn).await;
                let began = Instant::now();
                self.next_turn = began + self.options.renew_every;
                let turn = match timeout(self.options.renew_every, self.turn()).await {
                    Ok(Ok(mine)) => Some(mine),
                    Ok(Err(error)) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(pool = self.options.pool, error, "leases can't be renewed");
                        None
                    }
                    Err(_) => {
                        tracing::warn!(pool = self.options.pool, "leases can't be renewed: PostgreSQL does not answer");
                        None
                    }
                };
                let now = match turn {
                    Some(mine) => {
                        self.good_until = began + self.options.lasts;
                        mine
                    }
                    None if Instant::now() >= self.good_until => BTreeSet::new(),
                    None => continue,
                };
                if self.held.as_ref() != Some(&now) {
                    self.held = Some(now.clone());
                    return now;
                }
            }
        })
    }

    fn leave(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let left = timeout(self.options.renew_every, self.give_back()).await;
            if !matches!(left, Ok(Ok(()))) {
                tracing::warn!(pool = self.options.pool, "leases were not given back; others wait until they are over");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(item: u32, mine: bool, over: bool) -> Lease {
        Lease { item, mine, over }
    }

    #[test]
    fn one_node_takes_everything_and_two_share() {
        assert_eq!(share(4, 0, 1, &[]), BTreeSet::from([0, 1, 2, 3]));
        let all_mine: Vec<_> = (0..4).map(|item| lease(item, true, false)).collect();
        assert_eq!(share(4, 0, 2, &all_mine), BTreeSet::from([0, 1]), "the rest is given back");
        let others = [lease(0, false, false), lease(1, false, false)];
        assert_eq!(share(4, 1, 2, &others), BTreeSet::from([2, 3]));
        assert_eq!(share(5, 0, 2, &others), BTreeSet::from([2, 3, 4]));
        assert_eq!(share(5, 1, 2, &others), BTreeSet::from([2, 3]), "the odd piece is the first node's");
    }

    #[test]
    fn only_what_is_over_is_taken_from_others() {
        let leases = [lease(0, false, false), lease(1, false, true), lease(2, true, true)];
        assert_eq!(share(3, 0, 1, &leases), BTreeSet::from([1, 2]), "one's own stays one's own");
    }

    #[test]
    fn more_nodes_than_pieces_leave_some_without() {
        assert_eq!(share(2, 2, 3, &[]), BTreeSet::new());
    }
}
