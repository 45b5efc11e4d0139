//! Anything by its global id (GraphQL Global Object Identification).

use async_graphql::futures_util::future::try_join_all;
use async_graphql::{Context, Error, ID, Interface, Object};
use lotline_domain::access::role::Permission;
use lotline_projections::audit;
use lotline_projections::model::Model;

use super::alert::Alert;
use super::audit::AuditEntry;
use super::failure::{OrFail, bad_input};
use super::global_id::NodeId;
use super::hold::Hold;
use super::lot::Lot;
use super::master::{Partner, Product};
use super::pipeline::Pipeline;
use super::qc::QcDecision;
use super::reading::Reading;
use super::run::Run;
use super::scalar::PositionToken;
use super::scenario::Scenario;
use super::scope::Scope;
use super::signal::Signal;
use crate::guard::cost;

/// Most ids of one lookup.
const MAX_IDS: usize = 100;

/// Anything with a global id.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "Global id."))]
pub enum Node {
    /// A lot.
    Lot(Lot),
    /// A quality decision.
    QcDecision(QcDecision),
    /// A pipeline.
    Pipeline(Pipeline),
    /// A scenario.
    Scenario(Scenario),
    /// A run.
    Run(Run),
    /// A hold.
    Hold(Hold),
    /// A signal.
    Signal(Signal),
    /// A product.
    Product(Product),
    /// A supplier or customer.
    Partner(Partner),
    /// An alert.
    Alert(Alert),
    /// An event.
    AuditEntry(AuditEntry),
}

impl NodeId {
    fn model(&self) -> Model {
        match self {
            Self::Lot(_) => Model::Lots,
            Self::Hold(_) => Model::Genealogy,
            Self::QcDecision(_) | Self::Alert(_) => Model::QcDecisions,
            Self::Pipeline(_) => Model::Pipelines,
            Self::Scenario(_) => Model::Scenarios,
            Self::Run(_) => Model::Runs,
            Self::Signal(_) => Model::Signals,
            Self::Product(_) | Self::Partner(_) => Model::Master,
            Self::AuditEntry(_) => Model::Audit,
        }
    }

    async fn load(self, scope: &Scope) -> Result<Option<Node>, Error> {
        let (pool, tenant) = (scope.pool(), scope.tenant());
        let sight = scope.sight()?;
        let shown = |site: &str| sight.may_at(Permission::LookUp, site);
        Ok(match self {
            Self::Lot(id) => Lot::load(scope, id).await?.filter(|lot| shown(&lot.0.site)).map(Node::Lot),
            Self::Pipeline(id) => Pipeline::load(scope, id).await?.map(Node::Pipeline),
            Self::Scenario(id) => Scenario::load(scope, id).await?.map(Node::Scenario),
            Self::Run(id) => Run::load(scope, id).await?.filter(|run| shown(&run.0.site)).map(Node::Run),
            Self::Hold(id) => Hold::load(scope, id).await?.filter(|hold| shown(&hold.0.site)).map(Node::Hold),
            Self::Signal(key) => Signal::load(scope, key).await?.map(Node::Signal),
            Self::QcDecision(id) => {
                QcDecision::load(scope, id).await?.filter(|found| shown(&found.0.site)).map(Node::QcDecision)
            }
            Self::Alert(id) => Alert::load(scope, id).await?.filter(|alert| shown(&alert.0.site)).map(Node::Alert),
            Self::Product(id) => Product::load(scope, id).await?.map(Node::Product),
            Self::Partner(id) => Partner::load(scope, id).await?.map(Node::Partner),
            Self::AuditEntry(id) => {
                let row = audit::find(pool, tenant, id).await.or_fail("read an event")?;
                row.map(|row| Node::AuditEntry(AuditEntry(row)))
            }
        })
    }
}

/// Anything by id.
#[derive(Default)]
pub struct NodeQuery;

#[Object]
impl NodeQuery {
    /// A thing by its global id; null when it does not exist where the caller may look it up.
    async fn node(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Option<Node>, Error> {
        let scope = Scope::of(ctx);
        let id = NodeId::decode(&id).ok_or_else(|| bad_input("'id' is not a global id"))?;
        scope.wait(ctx, &[id.model()], consistent_with, consistency_timeout_ms).await?;
        let event = if let NodeId::AuditEntry(id) = &id { Some(id.to_string()) } else { None };
        let found = id.load(scope).await?;
        if event.is_some() {
            Reading::new("node", [("id", event)]).done(scope, usize::from(found.is_some())).await?;
        }
        Ok(found)
    }

    /// Things by their global ids, in the order of the ids; null for each that does not exist.
    #[graphql(complexity = "cost::page(i32::try_from(ids.len()).unwrap_or(i32::MAX), child_complexity)")]
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most 100.")] ids: Vec<ID>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Vec<Option<Node>>, Error> {
        let scope = Scope::of(ctx);
        if ids.len() > MAX_IDS {
            return Err(bad_input(format!("'ids' must have at most {MAX_IDS} entries, not {}", ids.len())));
        }
        let mut nodes = Vec::with_capacity(ids.len());
        for id in &ids {
            nodes.push(NodeId::decode(id).ok_or_else(|| bad_input("'ids' has an entry that is not a global id"))?);
        }
        let models: Vec<Model> = nodes.iter().map(NodeId::model).collect();
        scope.wait(ctx, &models, consistent_with, consistency_timeout_ms).await?;
        let events = nodes.iter().any(|id| matches!(id, NodeId::AuditEntry(_)));
        let found = try_join_all(nodes.into_iter().map(|id| id.load(scope))).await?;
        if events {
            let shown = found.iter().flatten().filter(|node| matches!(node, Node::AuditEntry(_))).count();
            Reading::new("nodes", []).done(scope, shown).await?;
        }
        Ok(found)
    }
}
