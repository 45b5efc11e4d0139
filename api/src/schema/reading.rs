//! Readings of the audit trail, which are events of it: recorded before what was read goes out.

use async_graphql::Error;
use lotline_domain::command::Command;
use lotline_domain::id::StreamKey;
use lotline_domain::position::Position;
use lotline_domain::trail::{ReadOperation, TrailCommand, shown};

use super::failure::coded;
use super::payload::{Given, Outcome, submit};
use super::scope::Scope;

/// What is read.
pub struct Reading {
    field: &'static str,
    asked: Vec<(&'static str, String)>,
}

impl Reading {
    /// By a field of the schema, and the filters that are set.
    pub fn new(field: &'static str, filters: impl IntoIterator<Item = (&'static str, Option<String>)>) -> Self {
        let asked = filters.into_iter().filter_map(|(name, value)| Some((name, shown(name, &value?)))).collect();
        Self { field, asked }
    }

    /// Records that so many events were read, which nobody has seen yet. Gives the position that covers the record.
    ///
    /// # Errors
    /// When the ledger does not take it: then they are not to be shown.
    pub async fn done(self, scope: &Scope, rows: usize) -> Result<Position, Error> {
        self.record(scope, ReadOperation::Query, Some(u32::try_from(rows).unwrap_or(u32::MAX))).await
    }

    /// Records that they are read from now on.
    ///
    /// # Errors
    /// When the ledger does not take it.
    pub async fn begun(self, scope: &Scope) -> Result<Position, Error> {
        self.record(scope, ReadOperation::Subscription, None).await
    }

    async fn record(self, scope: &Scope, operation: ReadOperation, shown: Option<u32>) -> Result<Position, Error> {
        let state = &scope.server.state;
        let asked = self.asked.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let command = TrailCommand::RecordReading { field: self.field.to_owned(), operation, asked, shown };
        let key = state.ids.uuid_v7(state.clock.now());
        let given = Given { key, expected_version: None, occurred_at: None, reason: None };
        match submit(scope, StreamKey::Tenant, given, Command::Trail(command)).await? {
            Outcome::Accepted(receipt) => Ok(receipt.position),
            Outcome::Refused(error, _) => {
                tracing::error!(code = error.code, "a reading of the audit trail was not recorded: {}", error.message);
                Err(coded("INTERNAL", "the reading can't be recorded, so nothing is shown"))
            }
        }
    }
}
