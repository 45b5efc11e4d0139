//! What a run consists of: phases, gates, lots, decisions, and its summary.

use std::collections::HashMap;

use async_graphql::{Context, Error, Object, SimpleObject};
use chrono::{DateTime, Utc};
use lotline_domain::qc::QcOutcome as DomainOutcome;
use lotline_domain::run::event::{PhaseSummary as DomainPhase, RunSummary as DomainSummary};
use lotline_domain::scenario::{self, Judged};
use lotline_projections::runs::{DecisionRow, InForceRow, PhaseRow, RunLotRow, RunRow};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::guard::cost;
use crate::schema::lot::{Lot, Quantity};
use crate::schema::qc::{ChecklistAnswer, Measurement, QcOutcome, open_notes};
use crate::schema::scenario::Gate;
use crate::schema::scope::Scope;

/// A phase that a run entered.
#[derive(SimpleObject, Debug)]
pub struct RunPhase {
    /// Its number.
    pub phase: i32,
    /// When, in the world.
    pub entered_at: DateTime<Utc>,
    /// When it ended; null while it goes on.
    pub left_at: Option<DateTime<Utc>>,
    /// Who let the run enter it.
    pub actor: String,
}

impl From<PhaseRow> for RunPhase {
    fn from(row: PhaseRow) -> Self {
        Self { phase: row.phase, entered_at: row.entered_at, left_at: row.left_at, actor: row.actor }
    }
}

/// A gate of a run, and how far it is passed.
#[derive(SimpleObject, Debug)]
pub struct RunGate {
    /// The gate.
    pub gate: Gate,
    /// Whether the run has come to it.
    pub due: bool,
    /// Whether there is a PASS in force: of the run, or of each lot in the phase before it and of one at least.
    pub passed: bool,
    /// The verdict in force on the run; null without one, and where lots are judged.
    pub outcome: Option<QcOutcome>,
    /// UUID of that decision: what a new one has to name to replace it.
    pub decision_id: Option<Uuid>,
    /// Lots to be judged; 0 where the run is.
    pub lots: i32,
    /// Lots with a PASS in force.
    pub passed_lots: i32,
}

impl RunGate {
    /// All gates of a run.
    ///
    /// # Errors
    /// `INTERNAL`.
    pub fn all(run: &RunRow, decisions: &[InForceRow], lots: &[RunLotRow]) -> Result<Vec<Self>, Error> {
        let found: HashMap<(&str, Option<Uuid>), &InForceRow> =
            decisions.iter().map(|row| ((row.gate.as_str(), row.lot_id), row)).collect();
        run.definition.gates.iter().map(|gate| Self::one(run, gate, &found, lots)).collect()
    }

    fn one(
        run: &RunRow,
        gate: &scenario::Gate,
        found: &HashMap<(&str, Option<Uuid>), &InForceRow>,
        lots: &[RunLotRow],
    ) -> Result<Self, Error> {
        let in_force = found.get(&(gate.key.as_str(), None));
        let passed = |row: &&&InForceRow| row.outcome == DomainOutcome::Pass.as_str();
        let here = lots.iter().filter(|lot| u32::try_from(lot.phase) == Ok(gate.after_phase));
        let here: Vec<&RunLotRow> = here.filter(|_| gate.judges == Judged::Lots).collect();
        let passed_lots =
            here.iter().filter_map(|lot| found.get(&(gate.key.as_str(), Some(lot.lot_id)))).filter(passed).count();
        Ok(Self {
            gate: gate.into(),
            due: u32::try_from(run.phase).is_ok_and(|phase| phase >= gate.after_phase),
            passed: match gate.judges {
                Judged::Run => in_force.iter().any(passed),
                Judged::Lots => !here.is_empty() && passed_lots == here.len(),
            },
            outcome: in_force.map(|row| QcOutcome::read(&row.outcome)).transpose()?,
            decision_id: in_force.map(|row| row.id),
            lots: i32::try_from(here.len()).unwrap_or(i32::MAX),
            passed_lots: i32::try_from(passed_lots).unwrap_or(i32::MAX),
        })
    }
}

/// A lot in a phase of a run.
pub struct RunLot(pub RunLotRow);

/// A lot in a phase of a run.
#[Object]
impl RunLot {
    /// The lot.
    async fn lot(&self, ctx: &Context<'_>) -> Result<Option<Lot>, Error> {
        Lot::load(Scope::of(ctx), self.0.lot_id).await
    }

    /// Number of the phase.
    async fn phase(&self) -> i32 {
        self.0.phase
    }

    /// How much there was of it when it was linked; null when nothing was left.
    async fn quantity(&self) -> Option<Quantity> {
        Some(Quantity { value: self.0.quantity?, unit: self.0.unit.clone()? })
    }

    /// Who linked it.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When, in the world.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.0.occurred_at
    }
}

/// A decision at a gate as it was taken. What was measured and answered about a lot is in the lot's own decision of the same UUID.
pub struct RunDecision(pub DecisionRow);

/// A decision at a gate as it was taken. What was measured and answered about a lot is in the lot's own decision of the same UUID.
#[Object]
impl RunDecision {
    /// The decision's UUID, as it stands in events.
    async fn uuid(&self) -> Uuid {
        self.0.id
    }

    /// Key of the gate.
    async fn gate(&self) -> &str {
        &self.0.gate
    }

    /// The lot that it judges; null where it judges the run.
    async fn lot(&self, ctx: &Context<'_>) -> Result<Option<Lot>, Error> {
        match self.0.lot_id {
            Some(id) => Lot::load(Scope::of(ctx), id).await,
            None => Ok(None),
        }
    }

    /// The verdict.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous to the macro")]
    async fn outcome(&self) -> Result<QcOutcome, Error> {
        QcOutcome::read(&self.0.outcome)
    }

    /// UUID of the decision that it replaced.
    async fn replaces(&self) -> Option<Uuid> {
        self.0.replaces
    }

    /// What was measured of the run.
    #[graphql(complexity = "cost::list(child_complexity)")]
    async fn measurements(&self) -> Vec<Measurement> {
        let all = self.0.measurements.0.iter();
        all.map(|m| Measurement { name: m.name.clone(), value: m.value, unit: m.unit.clone() }).collect()
    }

    /// What was answered about the run.
    #[graphql(complexity = "cost::list(child_complexity)")]
    async fn checklist(&self) -> Vec<ChecklistAnswer> {
        let all = self.0.checklist.0.iter();
        all.map(|given| ChecklistAnswer { item: given.item.clone(), answer: given.answer.clone() }).collect()
    }

    /// Free text; null when there is none, or when it was erased.
    async fn notes(&self, ctx: &Context<'_>) -> Result<Option<String>, Error> {
        match &self.0.notes {
            Some(sealed) => open_notes(ctx, self.0.id, &sealed.0).await,
            None => Ok(None),
        }
    }

    /// Why, in the actor's words.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// Who decided.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When it was decided in the world.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.0.occurred_at
    }

    /// When it was recorded.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }
}

/// What a phase came to.
#[derive(SimpleObject, Debug)]
pub struct PhaseSummary {
    /// Its number.
    pub phase: u32,
    /// Whole seconds in it.
    pub duration_s: u32,
    /// Whole seconds of them on hold.
    pub held_s: u32,
    /// Lots that belong to it.
    pub lots: u32,
    /// What there was of them when they were linked, added up by dimension.
    pub amounts: Vec<Quantity>,
}

/// How often which verdict was given.
#[derive(SimpleObject, Debug)]
pub struct DecisionCounts {
    /// PASS.
    pub pass: u32,
    /// HOLD.
    pub hold: u32,
    /// FAIL.
    pub fail: u32,
}

/// What a run came to, as far as it was known when it was completed.
#[derive(SimpleObject, Debug)]
pub struct RunSummary {
    /// Whole seconds from start to end, in the world.
    pub duration_s: u32,
    /// Whole seconds of them on hold.
    pub held_s: u32,
    /// The phases in the order in which they were entered.
    #[graphql(complexity = "cost::list(child_complexity)")]
    pub phases: Vec<PhaseSummary>,
    /// Decisions at its gates, those that were replaced too.
    pub decisions: DecisionCounts,
    /// Keys of gates that do not block and were not passed.
    pub open_gates: Vec<String>,
    /// What the last phase gave for each unit that went into the first one with lots; null unless both are one amount of the same dimension.
    pub yield_ratio: Option<Decimal>,
}

impl From<&DomainPhase> for PhaseSummary {
    fn from(phase: &DomainPhase) -> Self {
        let amounts = phase.amounts.iter();
        Self {
            phase: phase.phase,
            duration_s: whole(phase.duration_s),
            held_s: whole(phase.held_s),
            lots: phase.lots,
            amounts: amounts
                .map(|amount| Quantity { value: amount.value(), unit: amount.unit().code().to_owned() })
                .collect(),
        }
    }
}

impl From<&DomainSummary> for RunSummary {
    fn from(summary: &DomainSummary) -> Self {
        let counts = summary.decisions;
        Self {
            duration_s: whole(summary.duration_s),
            held_s: whole(summary.held_s),
            phases: summary.phases.iter().map(PhaseSummary::from).collect(),
            decisions: DecisionCounts { pass: counts.pass, hold: counts.hold, fail: counts.fail },
            open_gates: summary.open_gates.clone(),
            yield_ratio: summary.yield_ratio,
        }
    }
}

/// GraphQL's integers have 32 bits, which is 68 years.
fn whole(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX).min(i32::MAX.unsigned_abs())
}
