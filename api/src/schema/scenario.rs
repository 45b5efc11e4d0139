//! Scenarios: templates of processes, their versions, and how these differ.

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, Error, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use lotline_domain::scenario::diff::{self, DifferenceKind as DomainKind};
use lotline_domain::scenario::{self, Definition};
use lotline_projections::model::Model;
use lotline_projections::page::Page;
use lotline_projections::scenarios::{self, ScenarioFilter, ScenarioRow, VersionRow};
use rust_decimal::Decimal;
use serde_json::Value;
use uuid::Uuid;

use super::connection::{self, Cursor};
use super::failure::{OrFail, bad_input};
use super::global_id::{self, NodeId};
use super::loaders::{ScenarioById, ScenarioVersionsOf};
use super::lot::{LotType, Quantity};
use super::scalar::{PositionToken, Version};
use super::scope::Scope;
use crate::guard::cost;

/// What a gate judges.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "scenario::Judged")]
pub enum GateSubject {
    /// The run, once.
    Run,
    /// Each lot that is in the phase before the gate; at least one.
    Lots,
}

/// How a question is answered.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "scenario::AnswerType")]
pub enum AnswerType {
    /// yes or no.
    YesNo,
    /// A decimal such as 12.5.
    Number,
    /// Any text.
    Text,
    /// A day as 2026-11-21.
    Date,
}

/// A lane of the process.
#[derive(SimpleObject, Debug)]
pub struct ScenarioStream {
    /// Unique in the scenario.
    pub key: String,
    /// What people call it.
    pub name: String,
    /// sRGB as #rrggbb.
    pub colour: String,
    /// Lanes are shown by this, the least first.
    pub sort_order: u32,
}

/// A lot that is registered without anybody asking, when a run enters its phase.
#[derive(SimpleObject, Debug)]
pub struct AutomaticLot {
    /// What it is to the process.
    pub lot_type: LotType,
    /// Product name or GTIN.
    pub product: String,
    /// How much there is.
    pub quantity: Quantity,
}

/// A step of the process.
#[derive(SimpleObject, Debug)]
pub struct ScenarioPhase {
    /// Phases follow each other by this; a run starts in 0.
    pub number: u32,
    /// What people call it.
    pub name: String,
    /// Key of its lane.
    pub stream: String,
    /// The lot that comes into being when a run enters the phase.
    pub registers: Option<AutomaticLot>,
}

/// A question of a gate's checklist.
#[derive(SimpleObject, Debug)]
pub struct GateChecklistItem {
    /// Unique in the gate. Answers name it.
    pub key: String,
    /// What is asked.
    pub question: String,
    /// How it is answered.
    pub answer: AnswerType,
    /// Whether there is no PASS without an answer.
    pub required: bool,
}

/// Bounds of a measured value, both inclusive.
#[derive(SimpleObject, Debug)]
pub struct GateLimit {
    /// Unique in the gate. Measurements name it.
    pub name: String,
    /// UCUM code, such as Cel.
    pub unit: String,
    /// The least that is good.
    pub low: Option<Decimal>,
    /// The most that is good.
    pub high: Option<Decimal>,
    /// Name of the signal that measures it, at whatever site the run is.
    pub signal: Option<String>,
}

/// A point after a phase at which quality is decided.
#[derive(SimpleObject, Debug)]
pub struct Gate {
    /// Unique in the scenario. Decisions name it.
    pub key: String,
    /// The phase after which it stands.
    pub after_phase: u32,
    /// What sort of check it is, in the plant's own words.
    pub gate_type: String,
    /// What is judged.
    pub judges: GateSubject,
    /// Whether it is a critical control point.
    pub ccp: bool,
    /// Whether a run goes no further until it is passed.
    pub blocking: bool,
    /// What is asked.
    #[graphql(complexity = "cost::list(child_complexity)")]
    pub checklist: Vec<GateChecklistItem>,
    /// What is measured, and within what it must be.
    #[graphql(complexity = "cost::list(child_complexity)")]
    pub limits: Vec<GateLimit>,
}

/// A process: its streams, phases and gates.
#[derive(SimpleObject, Debug)]
pub struct ScenarioDefinition {
    /// Lanes in which phases stand.
    #[graphql(complexity = "cost::list(child_complexity)")]
    pub streams: Vec<ScenarioStream>,
    /// Steps.
    #[graphql(complexity = "cost::list(child_complexity)")]
    pub phases: Vec<ScenarioPhase>,
    /// Where quality is decided.
    #[graphql(complexity = "cost::list(child_complexity)")]
    pub gates: Vec<Gate>,
}

impl From<&scenario::Phase> for ScenarioPhase {
    fn from(phase: &scenario::Phase) -> Self {
        let lot = |lot: &scenario::AutomaticLot| AutomaticLot {
            lot_type: lot.lot_type.into(),
            product: lot.product.clone(),
            quantity: Quantity { value: lot.quantity.value(), unit: lot.quantity.unit().code().to_owned() },
        };
        let (name, stream) = (phase.name.clone(), phase.stream.clone());
        Self { number: phase.number, name, stream, registers: phase.registers.as_ref().map(lot) }
    }
}

impl From<&scenario::Gate> for Gate {
    fn from(gate: &scenario::Gate) -> Self {
        let item = |item: &scenario::ChecklistItem| GateChecklistItem {
            key: item.key.clone(),
            question: item.question.clone(),
            answer: item.answer.into(),
            required: item.required,
        };
        let limit = |limit: &scenario::Limit| GateLimit {
            name: limit.name.clone(),
            unit: limit.unit.clone(),
            low: limit.low,
            high: limit.high,
            signal: limit.signal.clone(),
        };
        Self {
            key: gate.key.clone(),
            after_phase: gate.after_phase,
            gate_type: gate.gate_type.clone(),
            judges: gate.judges.into(),
            ccp: gate.ccp,
            blocking: gate.blocking,
            checklist: gate.checklist.iter().map(item).collect(),
            limits: gate.limits.iter().map(limit).collect(),
        }
    }
}

impl From<&Definition> for ScenarioDefinition {
    fn from(definition: &Definition) -> Self {
        let stream = |stream: &scenario::Stream| ScenarioStream {
            key: stream.key.clone(),
            name: stream.name.clone(),
            colour: stream.colour.clone(),
            sort_order: stream.sort_order,
        };
        Self {
            streams: definition.streams.iter().map(stream).collect(),
            phases: definition.phases.iter().map(ScenarioPhase::from).collect(),
            gates: definition.gates.iter().map(Gate::from).collect(),
        }
    }
}

/// A published version; it never changes.
pub struct ScenarioVersion(pub VersionRow);

/// A published version; it never changes.
#[Object]
impl ScenarioVersion {
    /// Counts 1, 2, 3, …
    async fn number(&self) -> i32 {
        self.0.version
    }

    /// The scenario's name when it was published.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The process.
    async fn definition(&self) -> ScenarioDefinition {
        (&self.0.definition.0).into()
    }

    /// SHA-256 of the definition's JSON, in hex.
    async fn definition_hash(&self) -> &str {
        &self.0.definition_hash
    }

    /// Why, in the actor's words.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// Who published it.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When it was published in the world.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.0.occurred_at
    }

    /// When it was recorded.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }
}

/// A template of a process that is drafted, published as numbered versions, and retired.
pub struct Scenario(pub ScenarioRow);

impl Scenario {
    /// The scenario of an id.
    ///
    /// # Errors
    /// `INTERNAL`.
    pub async fn load(scope: &Scope, id: Uuid) -> Result<Option<Self>, Error> {
        Ok(scope.loader.load_one(ScenarioById(id)).await.or_fail("read a scenario")?.map(Self))
    }
}

/// A template of a process that is drafted, published as numbered versions, and retired.
#[Object]
impl Scenario {
    /// Global id.
    pub async fn id(&self) -> ID {
        NodeId::Scenario(self.0.id).encode()
    }

    /// The scenario's UUID, as it stands in events.
    async fn uuid(&self) -> Uuid {
        self.0.id
    }

    /// Unique among scenarios that are not retired.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The process as it was last drafted or revised.
    async fn draft(&self) -> ScenarioDefinition {
        (&self.0.draft.0).into()
    }

    /// Whether the draft differs from the newest version.
    async fn has_unpublished_changes(&self) -> bool {
        self.0.has_unpublished_changes()
    }

    /// Number of the newest version, from which runs start; null before the first.
    async fn published_version(&self) -> Option<i32> {
        self.0.published_version
    }

    /// Whether no run starts from it any more.
    async fn retired(&self) -> bool {
        self.0.retired
    }

    /// Published versions, the newest first.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    async fn versions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "1 to 100.")] first: i32,
    ) -> Result<Vec<ScenarioVersion>, Error> {
        let key = ScenarioVersionsOf(self.0.id, connection::size(first)?);
        let rows = Scope::of(ctx).loader.load_one(key).await.or_fail("read versions of a scenario")?;
        Ok(rows.unwrap_or_default().into_iter().map(ScenarioVersion).collect())
    }

    /// Who drafted it.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When it was drafted in the world.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.0.occurred_at
    }

    /// When its draft was recorded.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }

    /// When its last change was recorded.
    async fn changed_at(&self) -> DateTime<Utc> {
        self.0.changed_at
    }

    /// What `expectedVersion` is compared with. Not the number of a published version.
    async fn version(&self) -> Version {
        self.0.version.into()
    }
}

/// How a thing differs.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// It is in the second only.
    Added,
    /// It is in the first only.
    Removed,
    /// It is in both, with other values in some fields.
    Changed,
}

/// A field with another value.
#[derive(SimpleObject, Debug)]
pub struct FieldDifference {
    /// Name of the field, as it stands in events.
    pub field: String,
    /// In the first; null when it is absent there.
    pub before: Option<Value>,
    /// In the second; null when it is absent there.
    pub after: Option<Value>,
}

/// One thing that is not in both definitions, or not the same.
#[derive(SimpleObject, Debug)]
pub struct ScenarioDifference {
    /// Which thing, such as gates/intake/limits/pH.
    pub path: String,
    /// How it differs.
    pub kind: DifferenceKind,
    /// All of what was added or removed; null when it was changed.
    pub value: Option<Value>,
    /// What changed; empty when it was added or removed.
    #[graphql(complexity = "cost::list(child_complexity)")]
    pub fields: Vec<FieldDifference>,
}

impl From<diff::Difference> for ScenarioDifference {
    fn from(given: diff::Difference) -> Self {
        let (kind, value, fields) = match given.kind {
            DomainKind::Added(value) => (DifferenceKind::Added, Some(value), Vec::new()),
            DomainKind::Removed(value) => (DifferenceKind::Removed, Some(value), Vec::new()),
            DomainKind::Changed(fields) => (DifferenceKind::Changed, None, fields),
        };
        let field = |change: diff::FieldChange| FieldDifference {
            field: change.field,
            before: change.before,
            after: change.after,
        };
        Self { path: given.path, kind, value, fields: fields.into_iter().map(field).collect() }
    }
}

/// Which scenarios; what is absent does not matter.
#[derive(InputObject, Debug, Default)]
pub struct ScenarioFilterInput {
    /// The name, exactly.
    pub name: Option<String>,
    /// Whether retired.
    pub retired: Option<bool>,
    /// Whether any version was published.
    pub published: Option<bool>,
}

/// Scenarios.
#[derive(Default)]
pub struct ScenarioQuery;

#[Object]
impl ScenarioQuery {
    /// A scenario.
    async fn scenario(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id.")] id: ID,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Option<Scenario>, Error> {
        let scope = Scope::of(ctx);
        let id = global_id::scenario("id", &id)?;
        scope.wait(ctx, &[Model::Scenarios], consistent_with, consistency_timeout_ms).await?;
        Scenario::load(scope, id).await
    }

    /// Scenarios of the tenant, the newest first. They are for every site.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    async fn scenarios(
        &self,
        ctx: &Context<'_>,
        filter: Option<ScenarioFilterInput>,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Cursor of the last scenario of the page before.")] after: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Connection<Cursor, Scenario>, Error> {
        let scope = Scope::of(ctx);
        let size = connection::size(first)?;
        let after = connection::after(after.as_deref(), |text| Uuid::try_parse(text).ok())?;
        scope.wait(ctx, &[Model::Scenarios], consistent_with, consistency_timeout_ms).await?;
        let given = filter.unwrap_or_default();
        let filter = ScenarioFilter { name: given.name, retired: given.retired, published: given.published };
        let page = Page { first: size + 1, after };
        let rows = scenarios::list(scope.pool(), scope.tenant(), &filter, &page).await.or_fail("list scenarios")?;
        Ok(connection::connection(rows, size, after.is_some(), |row| Cursor::new(&row.id), Scenario))
    }

    /// What is different in another version of a scenario, by the keys under which people know things; null when there is no such scenario.
    #[graphql(complexity = "cost::list(child_complexity)")]
    async fn scenario_diff(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id of the scenario.")] id: ID,
        #[graphql(desc = "Number of the first version.")] from: u32,
        #[graphql(desc = "Number of the second version; the draft when absent.")] to: Option<u32>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Option<Vec<ScenarioDifference>>, Error> {
        let scope = Scope::of(ctx);
        let id = global_id::scenario("id", &id)?;
        scope.wait(ctx, &[Model::Scenarios], consistent_with, consistency_timeout_ms).await?;
        let Some(scenario) = Scenario::load(scope, id).await? else { return Ok(None) };
        let before = version(scope, id, from, "from").await?;
        let after = match to {
            Some(to) => version(scope, id, to, "to").await?,
            None => scenario.0.draft.0,
        };
        Ok(Some(diff::between(&before, &after).into_iter().map(ScenarioDifference::from).collect()))
    }
}

async fn version(scope: &Scope, scenario: Uuid, number: u32, argument: &str) -> Result<Definition, Error> {
    let found = scenarios::version(scope.pool(), scope.tenant(), scenario, number).await;
    let found = found.or_fail("read a version of a scenario")?;
    found.map(|row| row.definition.0).ok_or_else(|| bad_input(format!("'{argument}': there is no version {number}")))
}
