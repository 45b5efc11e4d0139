//! What went into what, along the graph.

use async_graphql::{Context, Enum, Error, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use lotline_projections::genealogy::{self, EdgeRow, Lineage, LineageLimit};
use lotline_projections::model::Model;

use super::failure::{OrFail, bad_input};
use super::global_id;
use super::lot::{Lot, Quantity};
use super::scalar::PositionToken;
use super::scope::Scope;
use crate::guard::cost;

/// Most steps of a lineage.
const MAX_DEPTH: u32 = 50;
/// Most edges of a lineage.
const MAX_EDGES: u32 = 1_000;

/// Which way to follow the graph.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenealogyDirection {
    /// To what the lot was made from.
    Ancestors,
    /// To what was made from the lot.
    Descendants,
}

/// An amount of one lot that became part of another.
pub struct GenealogyEdge(pub EdgeRow);

/// An amount of one lot that became part of another.
#[Object]
impl GenealogyEdge {
    /// What it was taken from.
    async fn parent(&self, ctx: &Context<'_>) -> Result<Option<Lot>, Error> {
        Lot::load(Scope::of(ctx), self.0.parent_id).await
    }

    /// What it became part of.
    async fn child(&self, ctx: &Context<'_>) -> Result<Option<Lot>, Error> {
        Lot::load(Scope::of(ctx), self.0.child_id).await
    }

    /// How much of the parent.
    async fn quantity(&self) -> Quantity {
        Quantity { value: self.0.quantity, unit: self.0.unit.clone() }
    }

    /// When the child came into being, in the world.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.0.occurred_at
    }
}

/// An edge and how far away it is.
#[derive(SimpleObject)]
pub struct LineageStep {
    /// Fewest steps from the start, from 1.
    pub depth: u32,
    /// The edge.
    pub edge: GenealogyEdge,
}

/// All that a lot was made from, or all that was made from it.
#[derive(SimpleObject)]
pub struct LotGenealogy {
    /// Every edge once, the nearest first.
    pub steps: Vec<LineageStep>,
    /// Whether a limit cut it short.
    pub truncated: bool,
}

/// Genealogy.
#[derive(Default)]
pub struct GenealogyQuery;

#[Object]
impl GenealogyQuery {
    /// Follows the graph from a lot. Null when the lot does not exist.
    #[graphql(complexity = "cost::page(i32::try_from(max_edges).unwrap_or(i32::MAX), child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the GraphQL field")]
    async fn lot_genealogy(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id of the lot.")] id: ID,
        direction: GenealogyDirection,
        #[graphql(desc = "Most steps, 1 to 50.", default = 10)] max_depth: u32,
        #[graphql(desc = "Most edges, 1 to 1000.", default = 100)] max_edges: u32,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Option<LotGenealogy>, Error> {
        let scope = Scope::of(ctx);
        for (name, given, most) in [("maxDepth", max_depth, MAX_DEPTH), ("maxEdges", max_edges, MAX_EDGES)] {
            if !(1..=most).contains(&given) {
                return Err(bad_input(format!("'{name}' must be 1 to {most}, not {given}")));
            }
        }
        let id = global_id::lot("id", &id)?;
        scope.wait(&[Model::Genealogy, Model::Lots], consistent_with, consistency_timeout_ms).await?;
        if Lot::load(scope, id).await?.is_none() {
            return Ok(None);
        }
        let within = LineageLimit { depth: max_depth, edges: max_edges };
        let found = match direction {
            GenealogyDirection::Ancestors => genealogy::ancestors(scope.pool(), scope.tenant(), &[id], within).await,
            GenealogyDirection::Descendants => {
                genealogy::descendants(scope.pool(), scope.tenant(), &[id], within).await
            }
        };
        let Lineage { edges, truncated } = found.or_fail("follow the genealogy")?;
        let steps = edges.into_iter().map(|step| LineageStep { depth: step.depth, edge: GenealogyEdge(step.edge) });
        Ok(Some(LotGenealogy { steps: steps.collect(), truncated }))
    }
}
