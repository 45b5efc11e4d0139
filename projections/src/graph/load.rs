//! Reads the whole graph from the tables, in one snapshot of both models and their positions.
//!
//! Two connections copy side by side, lots and edges, and hand batches to one thread that gives numbers as ids come, in whatever order:
//!
//! ```text
//! connection 1: generations, offsets, lots ─┐
//!                                           ├─▶ Builder: ids → numbers, edges as numbers ─▶ Base (counting sort, both ways)
//! connection 2: edges, same snapshot ───────┘
//! ```

use futures_util::TryStreamExt;
use lotline_domain::id::TenantId;
use lotline_domain::position::{Position, TopicKind};
use lotline_domain::record::Offset;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::{JoinError, spawn_blocking};
use uuid::Uuid;

use super::amount::{Aside, Packed};
use super::base::{Arc32, Base};
use super::cells::{Cell, Cells};
use super::copy_out::{CopyError, Decoder, numeric, statement, text, uuid};
use super::index::Index;
use super::view::{EdgeFact, Generations, View, site_number};
use crate::connection::Expendable;
use crate::genealogy::followed as edges;
use crate::generations;
use crate::lots::followed as lots;
use crate::model::Model;

/// Rows handed on together.
const BATCH: usize = 8_192;
/// Batches that may wait for the builder.
const WAITING: usize = 8;

/// The graph could not be read.
#[derive(Debug, Error)]
pub(super) enum LoadError {
    #[error("PostgreSQL failed")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("the thread that builds the graph has failed")]
    Builder(#[from] JoinError),
    #[error("the graph has more lots or edges than four billion")]
    TooLarge,
}

/// Where both models stand in a snapshot.
pub(super) struct Stand {
    pub(super) generations: Generations,
    pub(super) lots: BTreeMap<u32, Offset>,
    pub(super) genealogy: BTreeMap<u32, Offset>,
}

enum Batch {
    /// With the site of each.
    Lots(Vec<(Uuid, Cell, Aside)>, Vec<String>),
    Edges(Vec<EdgeFact>),
}

impl Stand {
    /// Of the live generations. A model that no worker has looked at yet has none, and no rows.
    pub(super) async fn read(db: &mut PgConnection, tenant: &TenantId) -> Result<Self, sqlx::Error> {
        let (lots_generation, lots) =
            generations::live(db, tenant, Model::Lots).await?.unwrap_or((-1, BTreeMap::new()));
        let (genealogy_generation, genealogy) =
            generations::live(db, tenant, Model::Genealogy).await?.unwrap_or((-1, BTreeMap::new()));
        let generations = Generations { lots: lots_generation, genealogy: genealogy_generation };
        Ok(Self { generations, lots, genealogy })
    }

    /// Up to where both are.
    pub(super) fn position(&self) -> Position {
        let mut position = Position::default();
        for (partition, next) in &self.genealogy {
            if let Some(other) = self.lots.get(partition) {
                position.advance(TopicKind::Ledger, *partition, *next.min(other));
            }
        }
        position
    }
}

/// Loads the graph of a tenant, and tells where both models stood.
pub(super) async fn load(pool: &PgPool, tenant: &TenantId) -> Result<(View, Stand), LoadError> {
    let (mut first, mut second) = (Expendable::acquire(pool).await?, Expendable::acquire(pool).await?);
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(first.get()).await?;
    let snapshot: String = sqlx::query_scalar("SELECT pg_export_snapshot()").fetch_one(first.get()).await?;
    let join = format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{snapshot}'");
    sqlx::raw_sql(AssertSqlSafe(join)).execute(second.get()).await?;
    let stand = Stand::read(first.get(), tenant).await?;
    let (batches, building) = mpsc::channel(WAITING);
    let builder = spawn_blocking(move || Builder::default().run(building));
    let Generations { lots, genealogy } = stand.generations;
    let copying = tokio::try_join!(
        copy_lots(first, statement("read.lots", lots::COPIED, tenant, lots), batches.clone()),
        copy_edges(second, statement("read.genealogy", edges::COPIED, tenant, genealogy), batches),
    );
    // Whatever has happened: the builder ends when nobody sends any more.
    let built = builder.await?;
    copying?;
    let mut view = built?;
    view.position = stand.position();
    view.generations = stand.generations;
    Ok((view, stand))
}

async fn copy_lots(mut db: Expendable, copy: String, batches: mpsc::Sender<Batch>) -> Result<(), LoadError> {
    let mut stream = db.get().copy_out_raw(&copy).await?;
    let mut decoder = Decoder::<4>::new();
    let (mut rows, mut sites): (_, Vec<String>) = (Vec::with_capacity(BATCH), Vec::new());
    while let Some(bytes) = stream.try_next().await? {
        decoder.take(&bytes);
        while let Some([id, site, quantity, unit]) = decoder.row()? {
            let site = text(site)?;
            let place = sites.iter().position(|known| known == site).unwrap_or_else(|| {
                sites.push(site.to_owned());
                sites.len() - 1
            });
            let mut aside = Aside::default();
            let (quantity, dimension) = lots::in_base(numeric(quantity)?, text(unit)?);
            let quantity = Packed::new(quantity, &mut aside);
            let site = u16::try_from(place).unwrap_or(u16::MAX);
            rows.push((uuid(id)?, Cell { quantity, site, dimension, known: true }, aside));
        }
        if rows.len() >= BATCH {
            let full = std::mem::replace(&mut rows, Vec::with_capacity(BATCH));
            send(&batches, Batch::Lots(full, sites.clone())).await?;
        }
    }
    send(&batches, Batch::Lots(rows, sites)).await?;
    drop(stream);
    finish(db).await
}

async fn copy_edges(mut db: Expendable, copy: String, batches: mpsc::Sender<Batch>) -> Result<(), LoadError> {
    let mut stream = db.get().copy_out_raw(&copy).await?;
    let mut decoder = Decoder::<3>::new();
    let mut rows = Vec::with_capacity(BATCH);
    while let Some(bytes) = stream.try_next().await? {
        decoder.take(&bytes);
        while let Some([child, parent, quantity]) = decoder.row()? {
            rows.push(EdgeFact { child: uuid(child)?, parent: uuid(parent)?, quantity: numeric(quantity)? });
        }
        if rows.len() >= BATCH {
            let full = std::mem::replace(&mut rows, Vec::with_capacity(BATCH));
            send(&batches, Batch::Edges(full)).await?;
        }
    }
    send(&batches, Batch::Edges(rows)).await?;
    drop(stream);
    finish(db).await
}

async fn send(batches: &mpsc::Sender<Batch>, batch: Batch) -> Result<(), LoadError> {
    batches.send(batch).await.map_err(|_| LoadError::TooLarge)
}

async fn finish(mut db: Expendable) -> Result<(), LoadError> {
    sqlx::raw_sql("COMMIT").execute(db.get()).await?;
    db.keep();
    Ok(())
}

#[derive(Default)]
struct Builder {
    ids: Vec<Uuid>,
    index: Index,
    edges: Vec<Arc32>,
    cells: Cells,
    sites: Arc<Vec<Arc<str>>>,
    aside: Aside,
    asked: Vec<Uuid>,
    numbers: Vec<u32>,
}

impl Builder {
    /// Takes what comes until nobody sends any more.
    fn run(mut self, mut batches: mpsc::Receiver<Batch>) -> Result<View, LoadError> {
        while let Some(batch) = batches.blocking_recv() {
            match batch {
                Batch::Lots(rows, sites) => self.lots(&rows, &sites),
                Batch::Edges(rows) => self.edges(&rows),
            }
            // The sender learns of it by the closed channel.
            if self.ids.len().max(self.edges.len()) >= u32::MAX as usize - 3 * BATCH {
                return Err(LoadError::TooLarge);
            }
        }
        self.cells.grow_to(self.ids.len());
        let base = Base::new(self.ids, self.index, self.edges);
        let (base, aside) = (Arc::new(base), Arc::new(self.aside));
        Ok(View { base, cells: self.cells, sites: self.sites, aside, ..View::default() })
    }

    fn lots(&mut self, rows: &[(Uuid, Cell, Aside)], sites: &[String]) {
        let sites: Vec<u16> = sites.iter().map(|site| site_number(&mut self.sites, site)).collect();
        self.asked.clear();
        self.asked.extend(rows.iter().map(|(id, ..)| *id));
        self.index.numbers(&mut self.ids, &self.asked, &mut self.numbers);
        self.cells.grow_to(self.ids.len());
        for (number, (_, cell, aside)) in self.numbers.iter().zip(rows) {
            let site = sites.get(cell.site as usize).copied().unwrap_or(u16::MAX);
            let quantity = Packed::new(cell.quantity.read(aside), &mut self.aside);
            self.cells.set(*number, Cell { quantity, site, ..*cell });
        }
    }

    fn edges(&mut self, rows: &[EdgeFact]) {
        self.asked.clear();
        self.asked.extend(rows.iter().flat_map(|edge| [edge.parent, edge.child]));
        self.index.numbers(&mut self.ids, &self.asked, &mut self.numbers);
        for (pair, edge) in self.numbers.chunks_exact(2).zip(rows) {
            let quantity = Packed::new(edge.quantity, &mut self.aside);
            self.edges.push(Arc32 { parent: pair[0], child: pair[1], quantity });
        }
    }
}
