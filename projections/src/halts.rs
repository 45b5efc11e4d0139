//! Halted streams that somebody has decided about, on their way back into the model.

use sqlx::{PgConnection, PgPool};

use lotline_domain::record::Offset;

use crate::model::Model;
use crate::offsets::Place;
use crate::progress::Announcement;

/// A halted stream to be tried again.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    pub(crate) model: Model,
    pub(crate) stream: String,
    /// The first event of the stream that the model does not have stands here or later.
    pub(crate) offset: Offset,
}

/// Where the model of a halted stream stands, held until the transaction ends.
pub(crate) struct Stand {
    pub(crate) generation: i32,
    pub(crate) next: Offset,
}

/// The halted streams of a partition that are to be tried again.
pub(crate) async fn due(pool: &PgPool, place: &Place) -> Result<Vec<Due>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT model, stream, log_offset FROM read.projection_halt
         WHERE tenant = $1 AND topic = $2 AND partition = $3 AND cause = 'poison' AND due ORDER BY model, stream",
        place.tenant.as_str(),
        place.topic,
        place.partition as i32
    )
    .fetch_all(pool)
    .await?;
    let known = rows
        .into_iter()
        .filter_map(|row| Some(Due { model: Model::parse(&row.model)?, stream: row.stream, offset: row.log_offset }));
    Ok(known.collect())
}

/// Holds the model's offset and then the halt. Nothing when the halt is not due at `at` any more.
pub(crate) async fn hold(
    db: &mut PgConnection,
    place: &Place,
    halt: &Due,
    at: Offset,
) -> Result<Option<Stand>, sqlx::Error> {
    let stand = sqlx::query!(
        "SELECT place.generation, place.next_offset
         FROM read.projection_offset AS place JOIN read.projection_generation AS live USING (tenant, model, generation)
         WHERE tenant = $1 AND model = $2 AND live.state = 'live' AND place.topic = $3 AND place.partition = $4 FOR UPDATE OF place",
        place.tenant.as_str(),
        halt.model.name(),
        place.topic,
        place.partition as i32
    )
    .fetch_optional(&mut *db)
    .await?;
    let Some(stand) = stand else { return Ok(None) };
    let found = sqlx::query!(
        "SELECT log_offset FROM read.projection_halt
         WHERE tenant = $1 AND model = $2 AND topic = $3 AND partition = $4 AND stream = $5 AND cause = 'poison' AND due
            AND log_offset = $6
         FOR UPDATE",
        place.tenant.as_str(),
        halt.model.name(),
        place.topic,
        place.partition as i32,
        halt.stream,
        at
    )
    .fetch_optional(db)
    .await?;
    Ok(found.map(|_| Stand { generation: stand.generation, next: stand.next_offset }))
}

/// Moves the halt on to `next`: the model has the events of the stream before it.
pub(crate) async fn advance(db: &mut PgConnection, place: &Place, halt: &Due, next: Offset) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE read.projection_halt SET log_offset = $6, sequence = NULL
         WHERE tenant = $1 AND model = $2 AND topic = $3 AND partition = $4 AND stream = $5 AND cause = 'poison'",
        place.tenant.as_str(),
        halt.model.name(),
        place.topic,
        place.partition as i32,
        halt.stream,
        next
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets the halt, shuts out workers that still believe in it, and tells who waits.
pub(crate) async fn lift(db: &mut PgConnection, place: &Place, halt: &Due) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM read.projection_halt
         WHERE tenant = $1 AND model = $2 AND topic = $3 AND partition = $4 AND stream = $5 AND cause = 'poison'",
        place.tenant.as_str(),
        halt.model.name(),
        place.topic,
        place.partition as i32,
        halt.stream
    )
    .execute(&mut *db)
    .await?;
    let next = sqlx::query_scalar!(
        "UPDATE read.projection_offset AS place SET fence = fence + 1 FROM read.projection_generation AS live
         WHERE place.tenant = $1 AND place.model = $2 AND place.topic = $3 AND place.partition = $4
            AND live.tenant = $1 AND live.model = $2 AND live.generation = place.generation AND live.state = 'live'
         RETURNING place.next_offset",
        place.tenant.as_str(),
        halt.model.name(),
        place.topic,
        place.partition as i32
    )
    .fetch_one(&mut *db)
    .await?;
    let (model, partition, tenant) = (halt.model, place.partition, place.tenant.to_string());
    let told = Announcement { model, partition, next, tenant, halt: true, traced: Vec::new() }.to_string();
    sqlx::query!("SELECT pg_notify('lotline_read', $1)::TEXT AS told", told).fetch_one(db).await?;
    Ok(())
}

/// Leaves the stream halted at the event that now is at fault: its offset, sequence, and what went wrong.
pub(crate) async fn again(
    pool: &PgPool,
    place: &Place,
    halt: &Due,
    at: Offset,
    (offset, sequence, error): (Offset, i64, &str),
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE read.projection_halt SET log_offset = $7, sequence = $8, error = $9, due = FALSE, halted_at = CURRENT_TIMESTAMP
         WHERE tenant = $1 AND model = $2 AND topic = $3 AND partition = $4 AND stream = $5 AND cause = 'poison' AND due
            AND log_offset = $6",
        place.tenant.as_str(),
        halt.model.name(),
        place.topic,
        place.partition as i32,
        halt.stream,
        at,
        offset,
        sequence,
        error
    )
    .execute(pool)
    .await?;
    Ok(())
}
