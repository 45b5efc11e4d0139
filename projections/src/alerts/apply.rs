//! How events change the table of alerts.

use std::collections::BTreeMap;

use lotline_domain::alert::event::{AlertEvent, AlertRaised};
use lotline_domain::event::{Event, Fact};
use lotline_domain::personal::Personal;
use lotline_domain::timestamp::Timestamp;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::{ACKNOWLEDGED, AlertRow, OPEN, RESOLVED, rank, rows};
use crate::batch::{LedgerEvent, Slice};
use crate::failure::ApplyError;

pub(crate) async fn apply(db: &mut PgConnection, slice: Slice<'_>) -> Result<(), ApplyError> {
    let events = slice.facts().filter_map(|(event, fact)| Some((event, fact, about(&fact.event)?)));
    let events: Vec<(&LedgerEvent, &Fact, &AlertEvent)> = events.collect();
    if events.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = events.iter().map(|(.., alert)| alert.alert_id().0).collect();
    let before =
        rows!("tenant || '' = $1 AND generation = $2 AND ", "id = ANY($3)", slice.tenant, slice.generation, &ids)
            .fetch_all(&mut *db)
            .await?;
    let mut alerts: BTreeMap<Uuid, AlertRow> = before.into_iter().map(|row| (row.id, row)).collect();
    for (event, fact, change) in events {
        evolve(&mut alerts, event, fact, change, slice.partition)?;
    }
    for row in alerts.values() {
        write(db, slice, row).await?;
    }
    Ok(())
}

fn about(event: &Event) -> Option<&AlertEvent> {
    if let Event::Alert(event) = event { Some(event) } else { None }
}

fn evolve(
    alerts: &mut BTreeMap<Uuid, AlertRow>,
    event: &LedgerEvent,
    fact: &Fact,
    change: &AlertEvent,
    partition: i32,
) -> Result<(), ApplyError> {
    let id = change.alert_id().0;
    if let AlertEvent::AlertRaised(data) = change {
        if alerts.insert(id, raised(event, fact, data, partition)?).is_some() {
            return Err(ApplyError::Inconsistent(format!("alert {id} is raised a second time")));
        }
        return Ok(());
    }
    let missing = || ApplyError::Inconsistent(format!("alert {id} is not in the table"));
    let alert = alerts.get_mut(&id).ok_or_else(missing)?;
    let at = fact.occurred_at.to_utc();
    alert.changed_at = event.envelope.attributes.time.to_utc();
    (alert.version, alert.changed_offset) = (event.sequence(), event.offset);
    match change {
        AlertEvent::AlertRaised(_) => {}
        AlertEvent::AlertAcknowledged(data) => {
            ACKNOWLEDGED.clone_into(&mut alert.status);
            (alert.acknowledged_by, alert.acknowledged_at) = (Some(data.by.to_string()), Some(at));
            (alert.note, alert.escalates_at) = (data.note.clone().map(Json), None);
        }
        AlertEvent::AlertEscalated(data) => {
            OPEN.clone_into(&mut alert.status);
            (alert.acknowledged_by, alert.acknowledged_at, alert.note) = (None, None, None);
            alert.level = number(data.level)?;
            alert.escalates_at = data.escalates_at.map(Timestamp::to_utc);
            if let Some(severity) = data.severity {
                (alert.severity, alert.rank) = (severity.as_str().to_owned(), rank(severity));
            }
            if let Some(title) = &data.title {
                alert.title.clone_from(title);
            }
            alert.decision_id = data.decision_id.map(|decision| decision.0).or(alert.decision_id);
        }
        AlertEvent::AlertResolved(data) => {
            RESOLVED.clone_into(&mut alert.status);
            (alert.resolved_by, alert.resolved_at) = (Some(data.by.to_string()), Some(at));
            alert.resolved_by_itself = data.by_itself;
            alert.resolution = fact.reason.clone().filter(|_| !data.by_itself);
            alert.escalates_at = None;
        }
    }
    Ok(())
}

fn raised(event: &LedgerEvent, fact: &Fact, data: &AlertRaised, partition: i32) -> Result<AlertRow, ApplyError> {
    let attributes = &event.envelope.attributes;
    let decided_at = attributes.time.to_utc();
    Ok(AlertRow {
        id: data.alert_id.0,
        site: event.stream().to_owned(),
        kind: data.kind.as_str().to_owned(),
        severity: data.severity.as_str().to_owned(),
        rank: rank(data.severity),
        level: number(data.level)?,
        status: OPEN.to_owned(),
        title: data.title.clone(),
        lot_id: data.lot_id.map(|lot| lot.0),
        run_id: data.run_id.map(|run| run.0),
        gate: data.gate.clone(),
        decision_id: data.decision_id.map(|decision| decision.0),
        expires_on: data.expires_on,
        escalates_at: data.escalates_at.map(Timestamp::to_utc),
        acknowledged_by: None,
        acknowledged_at: None,
        note: None,
        resolved_by: None,
        resolved_at: None,
        resolved_by_itself: false,
        resolution: None,
        actor: attributes.actor.to_string(),
        occurred_at: fact.occurred_at.to_utc(),
        decided_at,
        changed_at: decided_at,
        version: event.sequence(),
        partition,
        raised_offset: event.offset,
        changed_offset: event.offset,
    })
}

fn number(given: u32) -> Result<i32, ApplyError> {
    i32::try_from(given).map_err(|_| ApplyError::Inconsistent(format!("the number {given} is out of range")))
}

async fn write(db: &mut PgConnection, slice: Slice<'_>, row: &AlertRow) -> Result<(), ApplyError> {
    let note = row.note.as_ref().map(serde_json::to_string).transpose()?;
    sqlx::query!(
        "INSERT INTO read.alerts (tenant, generation, id, site, kind, severity, rank, level, status, title, lot_id, run_id, gate,
            decision_id, expires_on, escalates_at, acknowledged_by, acknowledged_at, note, resolved_by, resolved_at,
            resolved_by_itself, resolution, actor, occurred_at, decided_at, changed_at, version, partition, raised_offset,
            changed_offset)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19::TEXT::JSONB, $20, $21, $22,
            $23, $24, $25, $26, $27, $28, $29, $30, $31)
         ON CONFLICT (generation, id, tenant) DO UPDATE SET severity = EXCLUDED.severity, rank = EXCLUDED.rank, level = EXCLUDED.level,
            status = EXCLUDED.status, title = EXCLUDED.title, decision_id = EXCLUDED.decision_id, escalates_at = EXCLUDED.escalates_at,
            acknowledged_by = EXCLUDED.acknowledged_by, acknowledged_at = EXCLUDED.acknowledged_at, note = EXCLUDED.note,
            resolved_by = EXCLUDED.resolved_by, resolved_at = EXCLUDED.resolved_at, resolved_by_itself = EXCLUDED.resolved_by_itself,
            resolution = EXCLUDED.resolution, changed_at = EXCLUDED.changed_at, version = EXCLUDED.version,
            changed_offset = EXCLUDED.changed_offset",
        slice.tenant,
        slice.generation,
        row.id,
        row.site,
        row.kind,
        row.severity,
        row.rank,
        row.level,
        row.status,
        row.title,
        row.lot_id,
        row.run_id,
        row.gate,
        row.decision_id,
        row.expires_on,
        row.escalates_at,
        row.acknowledged_by,
        row.acknowledged_at,
        note,
        row.resolved_by,
        row.resolved_at,
        row.resolved_by_itself,
        row.resolution,
        row.actor,
        row.occurred_at,
        row.decided_at,
        row.changed_at,
        row.version,
        row.partition,
        row.raised_offset,
        row.changed_offset
    )
    .execute(db)
    .await?;
    Ok(())
}
