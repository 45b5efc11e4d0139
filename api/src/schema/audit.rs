//! The audit trail: every event, refusals too.

use async_graphql::connection::Connection;
use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject, Subscription};
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::{Stream, StreamExt};
use lotline_projections::audit::{self, AuditFilter, AuditKey, AuditRow};
use lotline_projections::model::Model;
use lotline_projections::page::Page;
use serde_json::Value;
use uuid::Uuid;

use super::connection::{self, Cursor};
use super::failure::OrFail;
use super::global_id::NodeId;
use super::live::{self, Change, Feed};
use super::reading::Reading;
use super::scalar::{PositionToken, Version};
use super::scope::Scope;
use crate::guard::cost;

/// An event: who, what, when, why, and what changed from what to what.
pub struct AuditEntry(pub AuditRow);

/// An event: who, what, when, why, and what changed from what to what.
#[Object]
impl AuditEntry {
    /// Global id.
    pub async fn id(&self) -> ID {
        NodeId::AuditEntry(self.0.id).encode()
    }

    /// The event's UUID (ce_id).
    async fn uuid(&self) -> Uuid {
        self.0.id
    }

    /// The stream that decided: a site, or _tenant.
    async fn stream(&self) -> &str {
        &self.0.stream
    }

    /// Place in the stream, dense from 1.
    async fn sequence(&self) -> Version {
        self.0.sequence.into()
    }

    /// Such as lotline.lot.registered.v1.
    async fn event_type(&self) -> &str {
        &self.0.event_type
    }

    /// What it is about, as kind/id.
    async fn subject(&self) -> &str {
        &self.0.subject
    }

    /// Who.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When it happened in the world.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.0.occurred_at
    }

    /// When it was decided.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }

    /// Why, in the actor's words.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// Ties together what one request caused.
    async fn correlation_id(&self) -> Uuid {
        self.0.correlation_id
    }

    /// The command's idempotency key.
    async fn causation_id(&self) -> Uuid {
        self.0.causation_id
    }

    /// The event's data.
    async fn data(&self) -> &Value {
        &self.0.data
    }

    /// What changed from what to what.
    async fn changes(&self) -> &Value {
        &self.0.changes
    }
}

/// Which events; what is absent does not matter.
#[derive(InputObject, Debug, Default)]
pub struct AuditFilterInput {
    /// Of one stream: a site, or _tenant.
    pub stream: Option<String>,
    /// About one thing, as kind/id.
    pub subject: Option<String>,
    /// By one actor.
    pub actor: Option<String>,
    /// Of one type, such as lotline.lot.registered.v1.
    pub event_type: Option<String>,
    /// Of one request.
    pub correlation_id: Option<Uuid>,
    /// Decided at this time or later.
    pub decided_from: Option<DateTime<Utc>>,
    /// Decided before this time.
    pub decided_until: Option<DateTime<Utc>>,
}

impl From<AuditFilterInput> for AuditFilter {
    fn from(given: AuditFilterInput) -> Self {
        Self {
            stream: given.stream,
            subject: given.subject,
            actor: given.actor,
            event_type: given.event_type,
            correlation_id: given.correlation_id,
            decided_from: given.decided_from,
            decided_until: given.decided_until,
        }
    }
}

impl AuditFilterInput {
    /// What is asked for, under the names of the schema.
    fn reading(&self) -> Reading {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
        let filters = [
            ("stream", self.stream.clone()),
            ("subject", self.subject.clone()),
            ("actor", self.actor.clone()),
            ("eventType", self.event_type.clone()),
            ("correlationId", self.correlation_id.map(|id| id.to_string())),
            ("decidedFrom", self.decided_from.map(time)),
            ("decidedUntil", self.decided_until.map(time)),
        ];
        Reading::new("auditTrail", filters)
    }
}

/// The audit trail.
#[derive(Default)]
pub struct AuditQuery;

#[Object]
impl AuditQuery {
    /// Events, the last decided first. Asking for them is an event too, which the next answer shows.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    async fn audit_trail(
        &self,
        ctx: &Context<'_>,
        filter: Option<AuditFilterInput>,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Cursor of the last event of the page before.")] after: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Connection<Cursor, AuditEntry>, Error> {
        let scope = Scope::of(ctx);
        let size = connection::size(first)?;
        let after = connection::after(after.as_deref(), read_key)?;
        let filter = filter.unwrap_or_default();
        let (reading, filter): (Reading, AuditFilter) = (filter.reading(), filter.into());
        scope.check_stream(filter.stream.as_deref()).await?;
        scope.wait(ctx, &[Model::Audit], consistent_with, consistency_timeout_ms).await?;
        let page = Page { first: size + 1, after };
        let rows = audit::list(scope.pool(), scope.tenant(), &filter, &page).await.or_fail("list the audit trail")?;
        reading.done(scope, rows.len().min(size as usize)).await?;
        Ok(connection::connection(rows, size, after.is_some(), |row| write_key(row.key()), AuditEntry))
    }
}

/// The cursor of an event: what [`read_key`] reads.
pub fn write_key(key: AuditKey) -> Cursor {
    Cursor::new(&key_text(key))
}

fn key_text(key: AuditKey) -> String {
    let time = key.decided_at.to_rfc3339_opts(SecondsFormat::Micros, true);
    format!("{time}/{}/{}", key.partition, key.log_offset)
}

/// Reads the text of a cursor; nothing when it is none of this list.
pub fn read_key(text: &str) -> Option<AuditKey> {
    let mut parts = text.split('/');
    let decided_at = DateTime::parse_from_rfc3339(parts.next()?).ok()?.to_utc();
    let (partition, log_offset) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let key = AuditKey { decided_at, partition, log_offset };
    (key_text(key) == text).then_some(key)
}

/// Whether a row is what a filter asks for, for subscriptions, which read everything in order.
fn matches(filter: &AuditFilter, row: &AuditRow) -> bool {
    let is = |wanted: &Option<String>, given: &str| wanted.as_ref().is_none_or(|wanted| wanted == given);
    is(&filter.stream, &row.stream)
        && is(&filter.subject, &row.subject)
        && is(&filter.actor, &row.actor)
        && is(&filter.event_type, &row.event_type)
        && filter.correlation_id.is_none_or(|wanted| wanted == row.correlation_id)
        && filter.decided_from.is_none_or(|from| row.decided_at >= from)
        && filter.decided_until.is_none_or(|until| row.decided_at < until)
}

/// An event of the audit trail.
#[derive(SimpleObject)]
pub struct AuditItem {
    /// The event.
    pub entry: AuditEntry,
    /// From where to go on after this item.
    pub position: PositionToken,
}

/// The audit trail as it grows.
#[derive(Default)]
pub struct AuditSubscription;

#[Subscription]
impl AuditSubscription {
    /// Events, each after its commit. Following them is an event too.
    async fn audit_trail(
        &self,
        ctx: &Context<'_>,
        filter: Option<AuditFilterInput>,
        #[graphql(desc = "Go on from here; from now when absent. Partitions that the token does not name begin now.")]
        after: Option<PositionToken>,
    ) -> Result<impl Stream<Item = Result<AuditItem, Error>> + use<>, Error> {
        let filter = filter.unwrap_or_default();
        let (reading, filter): (Reading, AuditFilter) = (filter.reading(), filter.into());
        let feed = Feed::<AuditRow> {
            model: Model::Audit,
            fetch: |state, partition, from, rows| {
                Box::pin(audit::changed_since(&state.pool, &state.tenant, partition, from, rows))
            },
            offset: |row| row.log_offset,
        };
        let scope = Scope::of(ctx);
        scope.check_stream(filter.stream.as_deref()).await?;
        let begun = reading.begun(scope).await?;
        // From now is from behind one's own reading.
        let after = after.or(Some(PositionToken(begun)));
        let changes = live::follow(ctx, feed, filter.stream.as_deref(), after).await?;
        Ok(changes.filter_map(move |change| {
            // One offset is one event.
            let item = change.map(|Change { mut rows, position, .. }| {
                rows.retain(|row| matches(&filter, row));
                let entry = rows.pop().map(AuditEntry)?;
                Some(AuditItem { entry, position: PositionToken(position) })
            });
            std::future::ready(item.transpose())
        }))
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::connection::CursorType;

    use super::*;

    #[test]
    fn cursors_keep_microseconds() {
        let decided_at = DateTime::parse_from_rfc3339("2026-11-21T03:15:00.123456Z").unwrap().to_utc();
        let key = AuditKey { decided_at, partition: 3, log_offset: 17 };
        let text = write_key(key).encode_cursor();
        assert_eq!(connection::after(Some(&text), read_key).unwrap(), Some(key));
        assert_eq!(read_key("2026-11-21T03:15:00Z/1/2/3"), None);
    }
}
