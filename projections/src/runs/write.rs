//! Brings rows about runs into their tables.

use sqlx::PgConnection;
use uuid::Uuid;

use super::apply::Rows;
use super::{DecisionRow, PhaseRow, RunLotRow, RunRow};
use crate::batch::Slice;
use crate::failure::ApplyError;

impl Rows {
    pub(super) async fn write(self, db: &mut PgConnection, slice: Slice<'_>) -> Result<(), ApplyError> {
        write_runs(db, slice, &self.runs.values().collect::<Vec<_>>()).await?;
        write_phases(db, slice, &self.phases.values().collect::<Vec<_>>()).await?;
        for (run, phase, at) in &self.left {
            sqlx::query!(
                "UPDATE read.run_phases SET left_at = $5
                 WHERE generation = $1 AND run_id = $2 AND phase = $3 AND tenant || '' = $4",
                slice.generation,
                run,
                phase,
                slice.tenant,
                at
            )
            .execute(&mut *db)
            .await?;
        }
        for (run, lot) in &self.unlinked {
            sqlx::query!(
                "DELETE FROM read.run_lots WHERE generation = $1 AND run_id = $2 AND lot_id = $3 AND tenant || '' = $4",
                slice.generation,
                run,
                lot,
                slice.tenant
            )
            .execute(&mut *db)
            .await?;
        }
        write_lots(db, slice, &self.lots.values().collect::<Vec<_>>()).await?;
        write_decisions(db, slice, &self.decisions).await
    }
}

async fn write_runs(db: &mut PgConnection, slice: Slice<'_>, rows: &[&RunRow]) -> Result<(), ApplyError> {
    for row in rows {
        let definition = serde_json::to_string(&row.definition)?;
        let summary = row.summary.as_ref().map(serde_json::to_string).transpose()?;
        sqlx::query!(
            "INSERT INTO read.runs (tenant, generation, id, site, code, scenario_id, scenario_name, scenario_version, definition, stage,
                phase, phase_since, held_since, ended_at, stage_reason, summary, last_at, actor, occurred_at, decided_at, changed_at,
                version, partition, changed_offset)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::TEXT::JSON, $10, $11, $12, $13, $14, $15, $16::TEXT::JSON, $17, $18, $19, $20,
                $21, $22, $23, $24)
             ON CONFLICT (generation, id, tenant) DO UPDATE SET stage = EXCLUDED.stage, phase = EXCLUDED.phase,
                phase_since = EXCLUDED.phase_since, held_since = EXCLUDED.held_since, ended_at = EXCLUDED.ended_at,
                stage_reason = EXCLUDED.stage_reason, summary = EXCLUDED.summary, last_at = EXCLUDED.last_at,
                changed_at = EXCLUDED.changed_at, version = EXCLUDED.version, changed_offset = EXCLUDED.changed_offset",
            slice.tenant,
            slice.generation,
            row.id,
            row.site,
            row.code,
            row.scenario_id,
            row.scenario_name,
            row.scenario_version,
            definition,
            row.stage,
            row.phase,
            row.phase_since,
            row.held_since,
            row.ended_at,
            row.stage_reason,
            summary,
            row.last_at,
            row.actor,
            row.occurred_at,
            row.decided_at,
            row.changed_at,
            row.version,
            row.partition,
            row.changed_offset
        )
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

async fn write_phases(db: &mut PgConnection, slice: Slice<'_>, rows: &[&PhaseRow]) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO read.run_phases (tenant, generation, run_id, site, phase, entered_at, left_at, actor, decided_at, sequence,
            partition, log_offset)
         SELECT $1, $2, run_id, site, phase, entered_at, left_at, actor, decided_at, sequence, partition, log_offset
         FROM UNNEST($3::UUID[], $4::TEXT[], $5::INTEGER[], $6::TIMESTAMPTZ[], $7::TIMESTAMPTZ[], $8::TEXT[], $9::TIMESTAMPTZ[],
            $10::BIGINT[], $11::INTEGER[], $12::BIGINT[])
            AS u (run_id, site, phase, entered_at, left_at, actor, decided_at, sequence, partition, log_offset)",
        slice.tenant,
        slice.generation,
        &rows.iter().map(|row| row.run_id).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.site.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.phase).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.entered_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.left_at).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.actor.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.decided_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.sequence).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.partition).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.log_offset).collect::<Vec<_>>()
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn write_lots(db: &mut PgConnection, slice: Slice<'_>, rows: &[&RunLotRow]) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO read.run_lots (tenant, generation, run_id, lot_id, phase, quantity, unit, actor, occurred_at, sequence)
         SELECT $1, $2, run_id, lot_id, phase, quantity, unit, actor, occurred_at, sequence
         FROM UNNEST($3::UUID[], $4::UUID[], $5::INTEGER[], $6::NUMERIC[], $7::TEXT[], $8::TEXT[], $9::TIMESTAMPTZ[], $10::BIGINT[])
            AS u (run_id, lot_id, phase, quantity, unit, actor, occurred_at, sequence)",
        slice.tenant,
        slice.generation,
        &rows.iter().map(|row| row.run_id).collect::<Vec<Uuid>>(),
        &rows.iter().map(|row| row.lot_id).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.phase).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.quantity).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.unit.as_deref()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.actor.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.occurred_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.sequence).collect::<Vec<_>>()
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn write_decisions(db: &mut PgConnection, slice: Slice<'_>, rows: &[DecisionRow]) -> Result<(), ApplyError> {
    for row in rows {
        let (measurements, checklist) =
            (serde_json::to_string(&row.measurements)?, serde_json::to_string(&row.checklist)?);
        let notes = row.notes.as_ref().map(serde_json::to_string).transpose()?;
        sqlx::query!(
            "INSERT INTO read.run_decisions (tenant, generation, id, run_id, gate, lot_id, outcome, replaces, measurements, checklist,
                notes, reason, actor, occurred_at, decided_at, sequence)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::TEXT::JSONB, $10::TEXT::JSONB, $11::TEXT::JSONB, $12, $13, $14, $15, $16)",
            slice.tenant,
            slice.generation,
            row.id,
            row.run_id,
            row.gate,
            row.lot_id,
            row.outcome,
            row.replaces,
            measurements,
            checklist,
            notes,
            row.reason,
            row.actor,
            row.occurred_at,
            row.decided_at,
            row.sequence
        )
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}
