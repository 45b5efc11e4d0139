//! `importMasterData`: a CSV file of products, partners or opening stock, each line a command of its own, with a report per line.
//!
//! What is wrong with the file as a whole changes nothing. A line that is refused changes nothing by itself, and the others go on. The keys of the
//! lines' commands derive from the import's, so an import that was cut off is sent again and does what is left.

mod file;

use async_graphql::{Context, Enum, Error, InputObject, Object, SimpleObject};
use futures_util::{StreamExt, TryStreamExt, stream};
use lotline_domain::command::Command;
use lotline_domain::id::{CommandId, StreamKey};
use lotline_domain::state::Subject;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use self::file::{Line, read};
use crate::schema::payload::{Given, Outcome, UserError, site_stream, submit};
use crate::schema::scalar::PositionToken;
use crate::schema::scope::Scope;

/// Commands at a time: enough for the writer to take them together, few enough to leave its queue to others.
const TOGETHER: usize = 32;
/// Code of the refusal of a definition that changes nothing.
const UNCHANGED: &str = "UNCHANGED";

/// Code of the refusal of somebody who may not.
const FORBIDDEN: &str = "FORBIDDEN";

/// What is in a file.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportKind {
    /// Columns code, name, unit; optional gtin, conversions (such as `KGM=0.5;LTR=0.48`), shelf_life_days, active.
    Products,
    /// Columns code, name; optional gln, supplies, buys, active.
    Partners,
    /// Lots that are there when one begins: columns code, lot_type, product, quantity, unit; optional supplier_lot, expires_on, location.
    OpeningStock,
}

/// A file to read in.
#[derive(InputObject, Debug)]
pub struct ImportMasterDataInput {
    /// UUIDv7, not older than 7 days: the same file sent again under it does what is left and gives the first answers again.
    pub idempotency_key: Uuid,
    /// What is in it.
    pub kind: ImportKind,
    /// The plant; for opening stock only.
    pub site: Option<String>,
    /// The text of the file: commas between columns, names of columns in the first line, at most 2,000 lines below it.
    pub csv: String,
    /// Why.
    pub reason: Option<String>,
}

/// What became of a line.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportOutcome {
    /// It is new.
    Created,
    /// It was known, and is as the line says now.
    Changed,
    /// It was as the line says already.
    Unchanged,
    /// It broke a rule.
    Refused,
}

/// A line and what became of it.
#[derive(SimpleObject, Debug)]
pub struct ImportLine {
    /// Its number in the file, where the names of the columns are line 1.
    pub line: u32,
    /// The code in it.
    pub code: String,
    /// What became of it.
    pub outcome: ImportOutcome,
    /// The column or input at fault.
    pub field: Option<String>,
    /// Stable code of the refusal.
    pub error: Option<String>,
    /// The sentence for people.
    pub message: Option<String>,
}

/// What became of an import.
#[derive(SimpleObject, Debug, Default)]
pub struct ImportPayload {
    /// Each line, in the order of the file.
    pub lines: Vec<ImportLine>,
    /// Things that are new.
    pub created: u32,
    /// Things that have changed.
    pub changed: u32,
    /// Things that were so already.
    pub unchanged: u32,
    /// Lines that broke a rule.
    pub refused: u32,
    /// Covers all decisions, and the refusals. Null when nothing was recorded.
    pub position: Option<PositionToken>,
    /// What is wrong with the file as a whole; nothing was changed then.
    pub user_errors: Vec<UserError>,
}

/// Imports.
#[derive(Default)]
pub struct ImportMutation;

#[Object]
impl ImportMutation {
    /// Reads in a file of master data or opening stock, with a report per line.
    async fn import_master_data(
        &self,
        ctx: &Context<'_>,
        input: ImportMasterDataInput,
    ) -> Result<ImportPayload, Error> {
        let scope = Scope::of(ctx);
        let (target, lines) = match (target(&input), read(input.kind, &input.csv)) {
            (Ok(target), Ok(lines)) => (target, lines),
            (Err(error), _) | (_, Err(error)) => {
                return Ok(ImportPayload { user_errors: vec![error], ..ImportPayload::default() });
            }
        };
        let import = Import { scope, target, key: input.idempotency_key, reason: input.reason };
        let mut lines = lines.into_iter();
        // Who may not do this is told once, and there is one refusal in the audit trail and not one for each line.
        let first = match lines.next() {
            Some(line) => import.line(line).await?,
            None => return Ok(ImportPayload::default()),
        };
        if first.0.error.as_deref() == Some(FORBIDDEN) {
            let ImportLine { field, message, .. } = first.0;
            let user_errors =
                vec![UserError { field, code: FORBIDDEN.to_owned(), message: message.unwrap_or_default() }];
            return Ok(ImportPayload { user_errors, position: first.1, ..ImportPayload::default() });
        }
        let rest: Vec<_> = stream::iter(lines).map(|line| import.line(line)).buffered(TOGETHER).try_collect().await?;
        let (lines, positions): (Vec<_>, Vec<_>) = [first].into_iter().chain(rest).unzip();
        Ok(ImportPayload::of(lines, positions.into_iter().flatten()))
    }
}

fn target(input: &ImportMasterDataInput) -> Result<StreamKey, UserError> {
    match (input.kind, &input.site) {
        (ImportKind::OpeningStock, Some(site)) => site_stream(site),
        (ImportKind::OpeningStock, None) => Err(UserError::at("site", "REQUIRED", "opening stock lies in a site")),
        (ImportKind::Products | ImportKind::Partners, None) => Ok(StreamKey::Tenant),
        (ImportKind::Products | ImportKind::Partners, Some(_)) => {
            Err(UserError::at("site", "NOT_OF_A_SITE", "products and partners are the tenant's: leave the site out"))
        }
    }
}

struct Import<'a> {
    scope: &'a Scope,
    target: StreamKey,
    key: Uuid,
    reason: Option<String>,
}

impl Import<'_> {
    async fn line(&self, line: Line) -> Result<(ImportLine, Option<PositionToken>), Error> {
        let Line { number, code, command } = line;
        let refused = |UserError { field, code: error, message }| ImportLine {
            line: number,
            code: code.clone(),
            outcome: ImportOutcome::Refused,
            field,
            error: Some(error),
            message: Some(message),
        };
        let command = match command {
            Ok(command) => command,
            Err(error) => return Ok((refused(error), None)),
        };
        let key = key(self.key, number);
        let outcome = self.submit(key, command).await?;
        let position = outcome.position();
        let outcome = match outcome {
            Outcome::Accepted(receipt) if self.is_fresh(key, &receipt.subject) => ImportOutcome::Created,
            Outcome::Accepted(_) => ImportOutcome::Changed,
            Outcome::Refused(error, _) if error.code == UNCHANGED => ImportOutcome::Unchanged,
            Outcome::Refused(error, _) => return Ok((refused(error), position)),
        };
        Ok((ImportLine { line: number, code, outcome, field: None, error: None, message: None }, position))
    }

    async fn submit(&self, key: Uuid, command: Command) -> Result<Outcome, Error> {
        let given = Given { key, expected_version: None, occurred_at: None, reason: self.reason.clone() };
        submit(self.scope, self.target.clone(), given, command).await
    }

    /// Whether the command has made the thing, which then has its id from the command.
    fn is_fresh(&self, key: Uuid, subject: &Subject) -> bool {
        let fresh = CommandId(key).derive(self.scope.tenant(), &self.target, &self.scope.caller.actor);
        if let Subject::Product(id) = subject {
            return id.0 == fresh;
        }
        if let Subject::Partner(id) = subject {
            return id.0 == fresh;
        }
        // Lots are registered, never defined anew.
        true
    }
}

/// The key of a line's command: of the import's time, so that it is as old, and else of its key and the line's number.
fn key(import: Uuid, line: u32) -> Uuid {
    let digest = Sha256::new().chain_update(import).chain_update(line.to_be_bytes()).finalize();
    let mut bytes = *import.as_bytes();
    bytes[6..].copy_from_slice(&digest[..10]);
    Builder::from_bytes(bytes)
        .with_variant(uuid::Variant::RFC4122)
        .with_version(import.get_version().unwrap_or(uuid::Version::Nil))
        .into_uuid()
}

impl ImportPayload {
    fn of(lines: Vec<ImportLine>, positions: impl Iterator<Item = PositionToken>) -> Self {
        let position = positions.map(|PositionToken(position)| position).reduce(|mut all, one| {
            one.iter().for_each(|(topic, partition, next)| all.advance(topic, partition, next));
            all
        });
        let count = |outcome| lines.iter().filter(|line| line.outcome == outcome).count() as u32;
        Self {
            created: count(ImportOutcome::Created),
            changed: count(ImportOutcome::Changed),
            unchanged: count(ImportOutcome::Unchanged),
            refused: count(ImportOutcome::Refused),
            position: position.map(PositionToken),
            user_errors: Vec::new(),
            lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lines_key_is_as_old_as_the_imports_and_its_own() {
        let import = Uuid::parse_str("01932f3c-0000-7aaa-8bbb-cccccccccccc").unwrap();
        let (first, second) = (key(import, 2), key(import, 3));
        assert_ne!(first, second);
        assert_eq!(first, key(import, 2));
        assert_eq!((first.get_version_num(), first.get_variant()), (7, uuid::Variant::RFC4122));
        assert_eq!(first.as_bytes()[..6], import.as_bytes()[..6]);
        let other = Uuid::parse_str("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed").unwrap();
        assert_eq!(key(other, 2).get_version_num(), 4, "what is no UUIDv7 is refused as such");
    }
}
