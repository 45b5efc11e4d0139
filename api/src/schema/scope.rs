//! What the resolvers of one request share: the server, who asks, and one set of loaders.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::dataloader::DataLoader;
use async_graphql::runtime::{TokioSpawner, TokioTimer};
use async_graphql::{Context, SelectionField};
use lotline_domain::access::actor::Actor;
use lotline_domain::id::{StreamKey, TenantId};
use lotline_domain::position::{Position, TopicKind};
use lotline_projections::lots::{self, LotFilter};
use lotline_projections::model::Model;
use lotline_projections::page::Page;
use lotline_projections::signals::{self, SignalFilter};
use sqlx::PgPool;
use tokio::time::Instant;

use super::failure::{self, OrFail};
use super::loaders::Tables;
use super::scalar::PositionToken;
use super::sight::Sight;
use crate::server::Server;
use crate::transport::caller::Caller;

/// One request.
pub struct Scope {
    /// The running API.
    pub server: Arc<Server>,
    /// Who asks.
    pub caller: Caller,
    /// Batches what the rows of one answer look up.
    pub loader: DataLoader<Tables>,
}

impl Scope {
    /// A request's own scope.
    pub fn new(server: Arc<Server>, caller: Caller) -> Self {
        let loader = DataLoader::new(Tables::new(&server.state), TokioSpawner::current(), TokioTimer::default());
        Self { server, caller, loader }
    }

    /// The scope of the request being resolved.
    pub fn of<'a>(ctx: &Context<'a>) -> &'a Self {
        ctx.data_unchecked()
    }

    /// Where the read models are.
    pub fn pool(&self) -> &PgPool {
        &self.server.state.pool
    }

    /// Whose data is served.
    pub fn tenant(&self) -> &TenantId {
        &self.server.state.tenant
    }

    /// Who asks, as rules about access see it.
    pub fn actor(&self) -> Actor {
        Actor::of(&self.caller.actor)
    }

    /// What the caller may see at this moment.
    ///
    /// # Errors
    /// `UNAVAILABLE` while that is not known.
    pub fn sight(&self) -> async_graphql::Result<Sight> {
        Sight::now(&self.server, self.actor())
    }

    /// Refuses a position in a partition that the tenant's topics do not have, which no read model would ever reach.
    ///
    /// # Errors
    /// `BAD_USER_INPUT`.
    pub fn check_position(&self, argument: &str, position: &Position) -> async_graphql::Result<()> {
        for (topic, partition, _) in position.iter() {
            let count = self.server.state.partitions.of(topic);
            if partition >= count {
                let topic = match topic {
                    TopicKind::Ledger => "ledger",
                    TopicKind::Signals => "signals topic",
                };
                let message = format!(
                    "the position token in '{argument}' names partition {partition} of the {topic}, which has {count} partitions here: it \
                     comes from another tenant or server"
                );
                return Err(failure::bad_input(message));
            }
        }
        Ok(())
    }

    /// Refuses a site that the tenant does not have. One that is configured no longer, but has left lots or signals, is still known.
    ///
    /// # Errors
    /// `UNKNOWN_SITE`, as mutations answer.
    pub async fn check_site(&self, site: Option<&str>) -> async_graphql::Result<()> {
        let Some(site) = site else { return Ok(()) };
        if self.server.state.sites.iter().any(|known| known.as_str() == site) || self.has_history(site).await? {
            return Ok(());
        }
        let shown: String = site.chars().take(64).collect();
        Err(failure::coded("UNKNOWN_SITE", format!("there is no site '{shown}'")))
    }

    /// The same for a stream: a site, or the tenant's own.
    ///
    /// # Errors
    /// `UNKNOWN_SITE`.
    pub async fn check_stream(&self, stream: Option<&str>) -> async_graphql::Result<()> {
        self.check_site(stream.filter(|stream| *stream != StreamKey::Tenant.as_str())).await
    }

    async fn has_history(&self, site: &str) -> async_graphql::Result<bool> {
        // PostgreSQL's texts hold no NUL, so no site has one; asked for, it would be an error.
        if site.contains('\0') {
            return Ok(false);
        }
        let filter = SignalFilter { site: Some(site.to_owned()), ..SignalFilter::default() };
        let found = signals::list(self.pool(), self.tenant(), &filter, &Page::first(1)).await;
        if !found.or_fail("look for a site")?.is_empty() {
            return Ok(true);
        }
        let filter = LotFilter { site: Some(site.to_owned()), ..LotFilter::default() };
        let found = lots::list(self.pool(), self.tenant(), &filter, &Page::first(1)).await;
        Ok(!found.or_fail("look for a site")?.is_empty())
    }

    /// How long to wait for read models: what is asked for, but no longer than the server's own limit.
    pub fn patience(&self, asked_ms: Option<u32>) -> Duration {
        let longest = self.server.state.limits.consistency_timeout();
        asked_ms.map_or(longest, |ms| longest.min(Duration::from_millis(u64::from(ms))))
    }

    /// Waits until the read models of the field being resolved have passed a position: those named, and those of what is selected
    /// below it. `timeout_ms` can only shorten the server's own limit.
    ///
    /// # Errors
    /// `CONSISTENCY_TIMEOUT`, naming the read model that is behind; `BAD_USER_INPUT` for a position that this server's logs can't have.
    pub async fn wait(
        &self,
        ctx: &Context<'_>,
        models: &[Model],
        consistent_with: Option<PositionToken>,
        timeout_ms: Option<u32>,
    ) -> async_graphql::Result<()> {
        let Some(PositionToken(position)) = consistent_with else { return Ok(()) };
        self.check_position("consistentWith", &position)?;
        self.wait_for(ctx, models, &position, timeout_ms).await
    }

    /// Like [`Scope::wait`], for a position at hand.
    ///
    /// # Errors
    /// `CONSISTENCY_TIMEOUT`.
    pub async fn wait_for(
        &self,
        ctx: &Context<'_>,
        models: &[Model],
        position: &Position,
        timeout_ms: Option<u32>,
    ) -> async_graphql::Result<()> {
        let deadline = Instant::now() + self.patience(timeout_ms);
        let mut models = models.to_vec();
        used_below(ctx.field(), &mut models);
        self.server.state.progress.wait_for(&models, position, deadline).await.map_err(|error| failure::behind(&error))
    }
}

/// Every field below the roots that shows an object, and those that show a plain value of another model, with the read models that it reads: none
/// when the object is part of what its parent has read already. A query waits for those of the fields that it selects. A test walks the schema and finds what is missing here.
const NESTED: &[(&str, &str, &[Model])] = &[
    ("AccessPayload", "userErrors", &[]),
    ("Alert", "decision", &[Model::QcDecisions]),
    ("Alert", "lot", &[Model::Lots]),
    ("Alert", "run", &[Model::Runs]),
    ("AlertItem", "alert", &[]),
    ("AlertPayload", "alert", &[Model::QcDecisions]),
    ("AlertPayload", "userErrors", &[]),
    ("AuditItem", "entry", &[]),
    ("DeclareSignalPayload", "signal", &[Model::Signals]),
    ("DeclareSignalPayload", "userErrors", &[]),
    ("DeliveryPayload", "lots", &[Model::Lots]),
    ("DeliveryPayload", "userErrors", &[]),
    ("DefinePartnerPayload", "partner", &[Model::Master]),
    ("DefinePartnerPayload", "userErrors", &[]),
    ("DefineProductPayload", "product", &[Model::Master]),
    ("DefineProductPayload", "userErrors", &[]),
    ("ImportPayload", "lines", &[]),
    ("ImportPayload", "userErrors", &[]),
    ("GenealogyEdge", "child", &[Model::Lots]),
    ("GenealogyEdge", "parent", &[Model::Lots]),
    ("GenealogyEdge", "quantity", &[]),
    ("HeldLot", "hold", &[Model::Genealogy]),
    ("HeldLot", "lot", &[Model::Lots]),
    ("Hold", "lots", &[Model::Genealogy]),
    ("HoldChange", "hold", &[]),
    ("HoldPayload", "hold", &[Model::Genealogy]),
    ("HoldPayload", "userErrors", &[]),
    ("LineageStep", "edge", &[]),
    ("Lot", "attributes", &[]),
    ("Lot", "children", &[Model::Genealogy]),
    ("Lot", "holds", &[Model::Genealogy]),
    ("Lot", "onHold", &[Model::Genealogy]),
    ("Lot", "parents", &[Model::Genealogy]),
    ("Lot", "qcDecisions", &[Model::QcDecisions]),
    ("Lot", "quantity", &[]),
    ("Lot", "receipt", &[Model::Lots]),
    ("Lot", "remaining", &[]),
    ("Lot", "shipments", &[Model::Lots]),
    ("Lot", "transformation", &[Model::Genealogy]),
    ("LotChange", "lots", &[]),
    ("LotGenealogy", "steps", &[]),
    ("LotsFound", "lots", &[Model::Lots]),
    ("LotsFound", "scanned", &[]),
    ("LotPayload", "lot", &[Model::Lots]),
    ("LotPayload", "userErrors", &[]),
    ("Pipeline", "draft", &[]),
    ("Pipeline", "versions", &[Model::Pipelines]),
    ("PipelineChange", "pipeline", &[]),
    ("PipelineDefinition", "edges", &[]),
    ("PipelineDefinition", "tasks", &[]),
    ("PipelinePayload", "pipeline", &[Model::Pipelines]),
    ("PipelinePayload", "userErrors", &[]),
    ("Me", "memberships", &[]),
    ("Me", "pipelineAccess", &[]),
    ("Me", "user", &[Model::Access]),
    ("PipelineVersion", "definition", &[]),
    ("Product", "conversions", &[]),
    ("ProjectionPayload", "userErrors", &[]),
    ("ProjectionStatus", "graph", &[]),
    ("ProjectionStatus", "halts", &[]),
    ("ProjectionStatus", "rebuild", &[]),
    ("QcDecision", "checklist", &[]),
    ("QcDecision", "lot", &[Model::Lots]),
    ("QcDecision", "measurements", &[]),
    ("QcDecisionItem", "decision", &[]),
    ("Receipt", "documents", &[]),
    ("Receipt", "supplier", &[Model::Master]),
    ("RecordQcDecisionPayload", "qcDecision", &[Model::QcDecisions]),
    ("RecordQcDecisionPayload", "userErrors", &[]),
    ("RegisterLotPayload", "lot", &[Model::Lots]),
    ("RegisterLotPayload", "userErrors", &[]),
    ("AutomaticLot", "quantity", &[]),
    ("DecideGatePayload", "userErrors", &[]),
    ("PhaseAdvance", "run", &[Model::Runs]),
    ("PhaseSummary", "amounts", &[]),
    ("Run", "currentPhase", &[]),
    ("Run", "decisions", &[Model::Runs]),
    ("Run", "definition", &[]),
    ("Run", "gates", &[Model::Runs]),
    ("Run", "lots", &[Model::Runs]),
    ("Run", "phases", &[Model::Runs]),
    ("Run", "scenario", &[Model::Scenarios]),
    ("Run", "summary", &[]),
    ("RunChange", "run", &[]),
    ("RunDecision", "checklist", &[]),
    ("RunDecision", "lot", &[Model::Lots]),
    ("RunDecision", "measurements", &[]),
    ("RunGate", "gate", &[]),
    ("RunLot", "lot", &[Model::Lots]),
    ("RunLot", "quantity", &[]),
    ("RunPayload", "run", &[Model::Runs]),
    ("RunPayload", "userErrors", &[]),
    ("RunSummary", "decisions", &[]),
    ("RunSummary", "phases", &[]),
    ("Gate", "checklist", &[]),
    ("Gate", "limits", &[]),
    ("Scenario", "draft", &[]),
    ("Scenario", "versions", &[Model::Scenarios]),
    ("ScenarioDefinition", "gates", &[]),
    ("ScenarioDefinition", "phases", &[]),
    ("ScenarioDefinition", "streams", &[]),
    ("ScenarioDifference", "fields", &[]),
    ("ScenarioPayload", "scenario", &[Model::Scenarios]),
    ("ScenarioPayload", "userErrors", &[]),
    ("ScenarioPhase", "registers", &[]),
    ("ScenarioVersion", "definition", &[]),
    ("SecretPayload", "userErrors", &[]),
    ("Shipment", "customer", &[Model::Master]),
    ("Shipment", "documents", &[]),
    ("Shipment", "lots", &[Model::Lots]),
    ("ShipmentPayload", "shipment", &[Model::Lots]),
    ("ShipmentPayload", "userErrors", &[]),
    ("ShippedLot", "lot", &[Model::Lots]),
    ("ShippedLot", "quantity", &[]),
    ("ShippedLot", "shipment", &[Model::Lots]),
    ("Signal", "address", &[]),
    ("Signal", "latest", &[Model::Samples]),
    ("SignalValue", "signal", &[Model::Signals]),
    ("SignalValues", "values", &[]),
    ("MassBalance", "measures", &[]),
    ("RecallLot", "attributed", &[]),
    ("RecallLot", "attributedWhereabouts", &[]),
    ("RecallLot", "lot", &[Model::Lots]),
    ("RecallLot", "whereabouts", &[]),
    ("RecallScope", "gaps", &[]),
    ("RecallScope", "lots", &[]),
    ("RecallScope", "quantity", &[]),
    ("RecallScope", "start", &[]),
    ("RecallScope", "unaccounted", &[]),
    ("RecallScope", "whereabouts", &[]),
    ("Trace", "backward", &[]),
    ("Trace", "forward", &[]),
    ("Trace", "gaps", &[]),
    ("Trace", "lots", &[]),
    ("Trace", "start", &[]),
    ("TraceLot", "attributed", &[]),
    ("TraceLot", "lot", &[Model::Lots]),
    ("Transformation", "documents", &[]),
    ("Transformation", "gain", &[]),
    ("Transformation", "inputs", &[]),
    ("Transformation", "loss", &[]),
    ("Transformation", "outputs", &[]),
    ("TransformationInput", "lot", &[Model::Lots]),
    ("TransformationInput", "quantity", &[]),
    ("TransformationOutput", "lot", &[Model::Lots]),
    ("TransformationOutput", "quantity", &[]),
    ("TransformationPayload", "lots", &[Model::Genealogy, Model::Lots]),
    ("TransformationPayload", "transformation", &[Model::Genealogy]),
    ("TransformationPayload", "userErrors", &[]),
    ("User", "memberships", &[Model::Access]),
    ("User", "pipelineAccess", &[Model::Access]),
];

/// Adds the read models that fields below this one read.
pub(super) fn used_below(field: SelectionField<'_>, models: &mut Vec<Model>) {
    for below in field.selection_set() {
        // A selection does not tell the type that it is made on, so a field's name stands for all fields of that name.
        for (_, _, used) in NESTED.iter().filter(|(_, name, _)| *name == below.name()) {
            for model in *used {
                if !models.contains(model) {
                    models.push(*model);
                }
            }
        }
        used_below(below, models);
    }
}

#[cfg(test)]
mod tests;
