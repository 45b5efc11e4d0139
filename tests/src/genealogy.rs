//! A plant's genealogy of any size, the same for the same seed, written straight into the read models: five levels from raw to finished, where
//! most lots are made of one or two lots that were there at about the same time, and a few hot ingredients go into many.
//!
//! ```text
//! level     0 raw   1         2         3         4 finished
//! lots      n       1.8 n     3.24 n    5.83 n    10.5 n
//! made of   -       1 or 2 lots of the level before, near the same place in it; on level 1 also of a hot ingredient now and then
//! ```
//!
//! At ten million lots there are 17 million edges, a typical raw lot has about 139 descendants, and a hot one about 50,000.

use anyhow::Context;
use lotline_domain::id::TenantId;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sqlx::postgres::PgPoolCopyExt;
use sqlx::{AssertSqlSafe, PgPool};
use std::fmt::Write;
use uuid::Uuid;

const LEVELS: usize = 5;
/// How much larger each level is than the one before.
const GROWTH: f64 = 1.8;
/// How often a lot is made of two.
const TWO_PARENTS: f64 = 0.78;
/// How far from its own place a lot's second parent may be.
const NEARBY: i64 = 200;
const HOT: u32 = 8;
/// Lots of level 1 into which each hot ingredient goes, where there are so many.
const HOT_CHILDREN: u32 = 1_100;
/// Text that is sent at once.
const PIECE: usize = 1 << 20;
const KINDS: [&str; LEVELS] = ["raw", "ingredient", "intermediate", "intermediate", "finished"];

/// Indexes that nothing here asks for; building them would take longer than all the rest.
const UNUSED: [&str; 3] = ["read.lots_code", "read.lots_changed", "read.genealogy_offset"];

/// A genealogy to be written.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    seed: u64,
    /// Where each level begins, and at the end how many lots there are.
    starts: [u32; LEVELS + 1],
}

/// An edge by numbers, and how much of the parent, in grams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// What was taken.
    pub parent: u32,
    /// What it went into.
    pub child: u32,
    /// How much.
    pub grams: u32,
}

impl Shape {
    /// Of about so many lots.
    pub fn new(lots: u32, seed: u64) -> Self {
        let powers: Vec<f64> = (0..LEVELS as i32).map(|level| GROWTH.powi(level)).collect();
        let first = f64::from(lots) / powers.iter().sum::<f64>();
        let mut starts = [0; LEVELS + 1];
        for (level, power) in powers.iter().enumerate() {
            starts[level + 1] = starts[level] + ((first * power) as u32).max(1);
        }
        Self { seed, starts }
    }

    /// How many lots there are.
    pub fn lots(&self) -> u32 {
        self.starts[LEVELS]
    }

    /// The id of a lot: as good as random, as those of real lots, so that nothing is faster here for being in order.
    pub fn id(&self, lot: u32) -> Uuid {
        let mut random = SmallRng::seed_from_u64(self.seed ^ u64::from(lot).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        uuid::Builder::from_random_bytes(random.random()).into_uuid()
    }

    /// The raw lots that are hot.
    pub fn hot(&self) -> impl Iterator<Item = u32> {
        let every = (self.size(0) / HOT).max(1);
        (0..HOT.min(self.size(0))).map(move |hot| hot * every)
    }

    /// A raw lot that is not hot.
    pub fn typical(&self, random: &mut SmallRng) -> u32 {
        let every = (self.size(0) / HOT).max(1);
        loop {
            let lot = random.random_range(0..self.size(0));
            if lot % every != 0 || every == 1 {
                return lot;
            }
        }
    }

    /// What a lot was made of.
    pub fn parents(&self, lot: u32) -> Vec<Edge> {
        let level = self.level(lot);
        if level == 0 {
            return Vec::new();
        }
        let mut random = SmallRng::seed_from_u64(self.seed.rotate_left(32) ^ u64::from(lot));
        let place = u64::from(lot - self.starts[level]);
        let before = self.size(level - 1);
        let center = (place * u64::from(before) / u64::from(self.size(level))) as u32;
        let mut parents = vec![self.starts[level - 1] + center];
        if random.random_bool(TWO_PARENTS) {
            let other = i64::from(center) + random.random_range(-NEARBY..=NEARBY);
            parents.push(self.starts[level - 1] + other.clamp(0, i64::from(before) - 1) as u32);
        }
        parents.extend(self.hot_parent(level, place as u32));
        parents.sort_unstable();
        parents.dedup();
        parents.into_iter().map(|parent| Edge { parent, child: lot, grams: random.random_range(500..25_000) }).collect()
    }

    fn hot_parent(&self, level: usize, place: u32) -> Option<u32> {
        let part = (self.size(1) / HOT).max(1);
        let every = (part / HOT_CHILDREN).max(1);
        let (hot, within) = (place / part, place % part);
        let taken = level == 1 && hot < HOT && within.is_multiple_of(every) && within / every < HOT_CHILDREN;
        if taken { self.hot().nth(hot as usize) } else { None }
    }

    fn level(&self, lot: u32) -> usize {
        (1..LEVELS).find(|level| lot < self.starts[*level]).map_or(LEVELS - 1, |level| level - 1)
    }

    fn size(&self, level: usize) -> u32 {
        self.starts[level + 1] - self.starts[level]
    }

    /// Writes it as the live generation of a tenant that has none, at one event a lot in partition 0. Gives the number of edges.
    ///
    /// # Errors
    /// When PostgreSQL fails.
    pub async fn fill(&self, pool: &PgPool, tenant: &TenantId) -> anyhow::Result<u64> {
        for statement in [
            // What is lost in a crash is written again faster than it is made safe.
            "ALTER TABLE read.lots SET UNLOGGED",
            "ALTER TABLE read.genealogy SET UNLOGGED",
            "ALTER TABLE read.lots DROP CONSTRAINT lots_pkey",
            "ALTER TABLE read.genealogy DROP CONSTRAINT genealogy_pkey",
            "DROP INDEX read.genealogy_made_of",
        ] {
            sqlx::raw_sql(statement).execute(pool).await.context(statement)?;
        }
        for index in UNUSED {
            sqlx::raw_sql(AssertSqlSafe(format!("DROP INDEX {index}"))).execute(pool).await.context(index)?;
        }
        let ((), edges) = tokio::try_join!(self.copy_lots(pool, tenant), self.copy_edges(pool, tenant))?;
        let mut connection = pool.acquire().await?;
        for statement in [
            "SET maintenance_work_mem = '1GB'",
            "ALTER TABLE read.lots ADD CONSTRAINT lots_pkey PRIMARY KEY (generation, id, tenant)",
            "ALTER TABLE read.genealogy ADD CONSTRAINT genealogy_pkey PRIMARY KEY (tenant, generation, child_id, parent_id)",
            "CREATE INDEX genealogy_made_of ON read.genealogy (generation, parent_id, child_id, tenant)",
            "ANALYZE read.lots, read.genealogy",
            "RESET maintenance_work_mem",
        ] {
            sqlx::raw_sql(statement).execute(&mut *connection).await.context(statement)?;
        }
        for model in ["lots", "genealogy"] {
            let live = "INSERT INTO read.projection_generation (tenant, model, generation, state, version) VALUES ($1, $2, 0, 'live', '')";
            sqlx::query(live).bind(tenant.as_str()).bind(model).execute(&mut *connection).await?;
            let stand = "INSERT INTO read.projection_offset (tenant, model, generation, topic, partition, next_offset) VALUES ($1, $2, 0, $3, 0, $4)";
            let topic = format!("lotline.{tenant}.ledger.v1");
            let next = i64::from(self.lots());
            sqlx::query(stand)
                .bind(tenant.as_str())
                .bind(model)
                .bind(topic)
                .bind(next)
                .execute(&mut *connection)
                .await?;
        }
        Ok(edges)
    }

    async fn copy_lots(&self, pool: &PgPool, tenant: &TenantId) -> anyhow::Result<()> {
        let statement = "COPY read.lots (tenant, id, site, code, lot_type, product, quantity, unit, remaining_base, attributes, actor, \
                         occurred_at, decided_at, version, partition, changed_offset, generation) FROM STDIN";
        let mut copy = pool.copy_in_raw(statement).await?;
        let mut text = String::with_capacity(PIECE + 1_024);
        for lot in 0..self.lots() {
            let (id, kind) = (self.id(lot), KINDS[self.level(lot)]);
            let quantity = if self.hot().any(|hot| hot == lot) { "100000" } else { "100" };
            writeln!(
                text,
                "{tenant}\t{id}\tnorth\tL-{lot}\t{kind}\tmilk\t{quantity}\tKGM\t{quantity}\t{{}}\tann\t2026-11-21 03:00:00Z\t2026-11-21 03:00:00Z\t1\t0\t{lot}\t0"
            )?;
            if text.len() >= PIECE {
                copy.send(text.as_bytes()).await?;
                text.clear();
            }
        }
        copy.send(text.as_bytes()).await?;
        copy.finish().await?;
        Ok(())
    }

    async fn copy_edges(&self, pool: &PgPool, tenant: &TenantId) -> anyhow::Result<u64> {
        let statement = "COPY read.genealogy (tenant, child_id, parent_id, site, quantity, unit, quantity_base, occurred_at, decided_at, \
                         generation, partition, log_offset) FROM STDIN";
        let mut copy = pool.copy_in_raw(statement).await?;
        let mut text = String::with_capacity(PIECE + 1_024);
        for lot in 0..self.lots() {
            let child = self.id(lot);
            for edge in self.parents(lot) {
                let parent = self.id(edge.parent);
                let (kilograms, grams) = (edge.grams / 1_000, edge.grams % 1_000);
                writeln!(
                    text,
                    "{tenant}\t{child}\t{parent}\tnorth\t{kilograms}.{grams:03}\tKGM\t{kilograms}.{grams:03}\t2026-11-21 03:00:00Z\t2026-11-21 03:00:00Z\t0\t0\t{lot}"
                )?;
            }
            if text.len() >= PIECE {
                copy.send(text.as_bytes()).await?;
                text.clear();
            }
        }
        copy.send(text.as_bytes()).await?;
        Ok(copy.finish().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_plant_in_the_measured_shape() {
        let shape = Shape::new(200_000, 7);
        let edges: Vec<Edge> = (0..shape.lots()).flat_map(|lot| shape.parents(lot)).collect();
        assert_eq!(edges, (0..shape.lots()).flat_map(|lot| Shape::new(200_000, 7).parents(lot)).collect::<Vec<_>>());
        assert_ne!(shape.id(1), Shape::new(200_000, 8).id(1));
        let per_lot = edges.len() as f64 / f64::from(shape.lots());
        assert!((1.65..1.85).contains(&per_lot), "{per_lot}");
        assert!(edges.iter().all(|edge| shape.level(edge.parent) + 1 == shape.level(edge.child)), "no cycles");
        for hot in shape.hot() {
            assert!(edges.iter().filter(|edge| edge.parent == hot).count() as u32 >= HOT_CHILDREN, "{hot}");
        }
    }
}
