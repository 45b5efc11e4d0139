//! How events change the tables of runs.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use lotline_domain::event::{Event, Fact};
use lotline_domain::id::LotId;
use lotline_domain::quantity::Quantity;
use lotline_domain::run::event::{RunEvent, RunGateDecided, RunStarted};
use lotline_domain::run::state::Stage;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::{DecisionRow, Definition, PhaseRow, RunLotRow, RunRow, RunSummary, rows};
use crate::batch::{LedgerEvent, Slice};
use crate::failure::ApplyError;

/// What a slice makes of the tables.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) runs: BTreeMap<Uuid, RunRow>,
    pub(super) phases: BTreeMap<(Uuid, i32), PhaseRow>,
    /// When phases ended that are in the table already.
    pub(super) left: Vec<(Uuid, i32, DateTime<Utc>)>,
    /// These lots belong to their runs no more, but for what stands in `lots`.
    pub(super) unlinked: BTreeSet<(Uuid, Uuid)>,
    pub(super) lots: BTreeMap<(Uuid, Uuid, i32), RunLotRow>,
    pub(super) decisions: Vec<DecisionRow>,
}

pub(crate) async fn apply(db: &mut PgConnection, slice: Slice<'_>) -> Result<(), ApplyError> {
    let events = slice.facts().filter_map(|(event, fact)| Some((event, fact, about(&fact.event)?)));
    let events: Vec<(&LedgerEvent, &Fact, &RunEvent)> = events.collect();
    if events.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = events.iter().map(|(.., run)| run.run_id().0).collect();
    let before =
        rows!("tenant || '' = $1 AND generation = $2 AND ", "id = ANY($3)", slice.tenant, slice.generation, &ids)
            .fetch_all(&mut *db)
            .await?;
    let mut rows = Rows { runs: before.into_iter().map(|row| (row.id, row)).collect(), ..Rows::default() };
    for (event, fact, run) in events {
        rows.evolve(event, fact, run, slice.partition)?;
    }
    rows.write(db, slice).await
}

fn about(event: &Event) -> Option<&RunEvent> {
    if let Event::Run(event) = event { Some(event) } else { None }
}

impl Rows {
    fn evolve(
        &mut self,
        event: &LedgerEvent,
        fact: &Fact,
        change: &RunEvent,
        partition: i32,
    ) -> Result<(), ApplyError> {
        if let RunEvent::RunStarted(data) = change {
            return self.start(event, fact, data, partition);
        }
        let id = change.run_id().0;
        let missing = || ApplyError::Inconsistent(format!("run {id} is not in the table"));
        let run = self.runs.get_mut(&id).ok_or_else(missing)?;
        run.last_at = run.last_at.max(fact.occurred_at.to_utc());
        run.changed_at = event.envelope.attributes.time.to_utc();
        (run.version, run.changed_offset) = (event.sequence(), event.offset);
        let at = run.last_at;
        match change {
            RunEvent::RunStarted(_) => {}
            RunEvent::RunPhaseAdvanced(data) => {
                (run.phase, run.phase_since) = (number(data.to_phase)?, at);
                self.leave(id, number(data.from_phase)?, at);
                self.enter(event, id, number(data.to_phase)?, at, partition);
                for lot in &data.lots {
                    self.link(event, fact, id, lot.lot_id, data.to_phase, Some(lot.quantity))?;
                }
            }
            RunEvent::RunHeld(_) => {
                (run.stage, run.held_since) = (Stage::Held.as_str().to_owned(), Some(at));
                run.stage_reason.clone_from(&fact.reason);
            }
            RunEvent::RunResumed(_) => {
                (run.stage, run.held_since) = (Stage::Running.as_str().to_owned(), None);
                run.stage_reason = None;
            }
            RunEvent::RunCompleted(data) => {
                run.summary = Some(Json(data.summary.clone()));
                self.end(id, Stage::Completed, fact.reason.clone(), at);
            }
            RunEvent::RunAborted(_) => self.end(id, Stage::Aborted, fact.reason.clone(), at),
            RunEvent::RunLotLinked(data) => self.link(event, fact, id, data.lot_id, data.phase, data.quantity)?,
            RunEvent::RunLotUnlinked(data) => {
                self.lots.retain(|(run, lot, _), _| (*run, *lot) != (id, data.lot_id.0));
                self.unlinked.insert((id, data.lot_id.0));
            }
            RunEvent::RunGateDecided(data) => self.decisions.push(decision(event, fact, data)),
        }
        Ok(())
    }

    fn start(&mut self, event: &LedgerEvent, fact: &Fact, data: &RunStarted, partition: i32) -> Result<(), ApplyError> {
        let attributes = &event.envelope.attributes;
        let (id, at, decided_at) = (data.run_id.0, fact.occurred_at.to_utc(), attributes.time.to_utc());
        let row = RunRow {
            id,
            site: event.stream().to_owned(),
            code: data.code.clone(),
            scenario_id: data.scenario_id.0,
            scenario_name: data.scenario_name.clone(),
            scenario_version: number(data.scenario_version)?,
            definition: Json(data.definition.clone()),
            stage: Stage::Running.as_str().to_owned(),
            phase: 0,
            phase_since: at,
            held_since: None,
            ended_at: None,
            stage_reason: None,
            summary: None,
            last_at: at,
            actor: attributes.actor.to_string(),
            occurred_at: at,
            decided_at,
            changed_at: decided_at,
            version: event.sequence(),
            partition,
            changed_offset: event.offset,
        };
        if self.runs.insert(id, row).is_some() {
            return Err(ApplyError::Inconsistent(format!("run {id} is started a second time")));
        }
        self.enter(event, id, 0, at, partition);
        for lot in &data.lots {
            self.link(event, fact, id, lot.lot_id, 0, Some(lot.quantity))?;
        }
        Ok(())
    }

    fn enter(&mut self, event: &LedgerEvent, run_id: Uuid, phase: i32, entered_at: DateTime<Utc>, partition: i32) {
        let attributes = &event.envelope.attributes;
        let row = PhaseRow {
            run_id,
            site: event.stream().to_owned(),
            phase,
            entered_at,
            left_at: None,
            actor: attributes.actor.to_string(),
            decided_at: attributes.time.to_utc(),
            sequence: event.sequence(),
            partition,
            log_offset: event.offset,
        };
        self.phases.insert((run_id, phase), row);
    }

    fn leave(&mut self, run: Uuid, phase: i32, at: DateTime<Utc>) {
        match self.phases.get_mut(&(run, phase)) {
            Some(row) => row.left_at = Some(at),
            None => self.left.push((run, phase, at)),
        }
    }

    fn end(&mut self, id: Uuid, stage: Stage, reason: Option<String>, at: DateTime<Utc>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        (run.stage, run.stage_reason) = (stage.as_str().to_owned(), reason);
        (run.held_since, run.ended_at) = (None, Some(at));
        let phase = run.phase;
        self.leave(id, phase, at);
    }

    fn link(
        &mut self,
        event: &LedgerEvent,
        fact: &Fact,
        run_id: Uuid,
        lot: LotId,
        phase: u32,
        quantity: Option<Quantity>,
    ) -> Result<(), ApplyError> {
        let phase = number(phase)?;
        let row = RunLotRow {
            run_id,
            lot_id: lot.0,
            phase,
            quantity: quantity.map(Quantity::value),
            unit: quantity.map(|quantity| quantity.unit().code().to_owned()),
            actor: event.envelope.attributes.actor.to_string(),
            occurred_at: fact.occurred_at.to_utc(),
            sequence: event.sequence(),
        };
        self.lots.insert((run_id, lot.0, phase), row);
        Ok(())
    }
}

fn decision(event: &LedgerEvent, fact: &Fact, data: &RunGateDecided) -> DecisionRow {
    let attributes = &event.envelope.attributes;
    DecisionRow {
        id: data.decision_id.0,
        run_id: data.run_id.0,
        gate: data.gate.clone(),
        lot_id: data.lot_id.map(|lot| lot.0),
        outcome: data.outcome.as_str().to_owned(),
        replaces: data.replaces.map(|decision| decision.0),
        measurements: Json(data.measurements.clone()),
        checklist: Json(data.checklist.clone()),
        notes: data.notes.clone().map(Json),
        reason: fact.reason.clone(),
        actor: attributes.actor.to_string(),
        occurred_at: fact.occurred_at.to_utc(),
        decided_at: attributes.time.to_utc(),
        sequence: event.sequence(),
    }
}

fn number(given: u32) -> Result<i32, ApplyError> {
    i32::try_from(given).map_err(|_| ApplyError::Inconsistent(format!("the number {given} is out of range")))
}
