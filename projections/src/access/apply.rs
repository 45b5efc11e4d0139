//! How a batch changes the tables: folded to the last row of each key, then written table by table.

use std::collections::BTreeMap;

use lotline_domain::access::event::{AccessEvent, AccessSubject, ApiKeyIssued, UserRegistered};
use lotline_domain::access::grant::{PipelineRight, RightSet};
use lotline_domain::access::role::{Role, RoleSet};
use lotline_domain::event::Event;
use lotline_domain::id::{SiteId, UserId};
use lotline_domain::personal::Personal;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::{GrantRow, KeyRow, MembershipRow, SiteRow, UserRow, key_rows, user_rows};
use crate::batch::{LedgerEvent, Slice};
use crate::failure::ApplyError;

/// What a batch leaves behind. Rows without roles or rights are deleted.
#[derive(Default)]
struct Rows {
    sites: Vec<SiteRow>,
    users: BTreeMap<Uuid, UserRow>,
    memberships: BTreeMap<(Uuid, String), MembershipRow>,
    keys: BTreeMap<Uuid, KeyRow>,
    grants: BTreeMap<(Uuid, Uuid), GrantRow>,
}

pub(crate) fn concerns(event: &Event) -> bool {
    matches!(event, Event::Access(_))
}

pub(crate) async fn apply(db: &mut PgConnection, slice: Slice<'_>) -> Result<(), ApplyError> {
    let mut rows = load(&mut *db, slice).await?;
    for (event, fact) in slice.facts() {
        if let Event::Access(change) = &fact.event {
            rows.evolve(change, slice.partition, event)?;
        }
    }
    write_sites(&mut *db, slice, &rows.sites).await?;
    write_users(&mut *db, slice, rows.users.into_values().collect()).await?;
    write_memberships(&mut *db, slice, rows.memberships.into_values().collect()).await?;
    write_keys(&mut *db, slice, rows.keys.into_values().collect()).await?;
    write_grants(&mut *db, slice, rows.grants.into_values().collect()).await
}

/// The users and keys that the batch changes, as they were.
async fn load(db: &mut PgConnection, slice: Slice<'_>) -> Result<Rows, ApplyError> {
    let (mut users, mut keys) = (Vec::new(), Vec::new());
    for (_, fact) in slice.facts() {
        let Event::Access(change) = &fact.event else { continue };
        match change.subject() {
            AccessSubject::User(id) => users.push(id.0),
            AccessSubject::ApiKey(id) => keys.push(id.0),
            AccessSubject::Site(_) | AccessSubject::Pipeline(..) => {}
        }
    }
    let mut rows = Rows::default();
    if !users.is_empty() {
        let found = user_rows!(
            "tenant || '' = $1 AND generation = $2 AND ",
            "id = ANY($3)",
            slice.tenant,
            slice.generation,
            &users
        );
        rows.users = found.fetch_all(&mut *db).await?.into_iter().map(|row| (row.id, row)).collect();
    }
    if !keys.is_empty() {
        let found = key_rows!(
            "tenant || '' = $1 AND generation = $2 AND ",
            "id = ANY($3)",
            slice.tenant,
            slice.generation,
            &keys
        );
        rows.keys = found.fetch_all(db).await?.into_iter().map(|row| (row.id, row)).collect();
    }
    Ok(rows)
}

impl Rows {
    fn evolve(&mut self, change: &AccessEvent, partition: i32, event: &LedgerEvent) -> Result<(), ApplyError> {
        match change {
            AccessEvent::SiteRegistered(data) => self.sites.push(SiteRow {
                id: data.site.to_string(),
                name: data.name.clone(),
                time_zone: data.time_zone.clone(),
                actor: event.envelope.attributes.actor.to_string(),
                decided_at: event.envelope.attributes.time.to_utc(),
                version: event.sequence(),
                partition,
                changed_offset: event.offset,
            }),
            AccessEvent::UserRegistered(data) => {
                self.users.insert(data.user_id.0, registered(data, partition, event));
            }
            AccessEvent::UserProfileChanged(data) => {
                let user = self.user(data.user_id, event)?;
                (user.name, user.email) = (Json(data.name.clone()), Json(data.email.clone()));
            }
            AccessEvent::UserDeactivated(data) => self.user(data.user_id, event)?.active = false,
            AccessEvent::UserReactivated(data) => self.user(data.user_id, event)?.active = true,
            AccessEvent::PasswordResetIssued(data) => {
                self.user(data.user_id, event)?;
            }
            AccessEvent::MembershipChanged(data) => {
                self.membership(data.user_id, data.site.as_ref(), data.roles, event)?;
            }
            AccessEvent::AdminAppointed(data) => self.membership(data.user_id, None, data.roles, event)?,
            AccessEvent::ApiKeyIssued(data) => {
                self.keys.insert(data.key_id.0, issued(data, partition, event));
            }
            AccessEvent::ApiKeyRevoked(data) => {
                let key = self.keys.get_mut(&data.key_id.0).ok_or_else(|| unknown("key", &data.key_id))?;
                key.revoked_at = Some(event.envelope.attributes.time.to_utc());
                (key.version, key.changed_offset) = (event.sequence(), event.offset);
            }
            AccessEvent::PipelineAccessSet(data) => {
                let (pipeline_id, user_id) = (data.pipeline_id.0, data.user_id.0);
                let grant = GrantRow {
                    pipeline_id,
                    user_id,
                    rights: rights(data.rights),
                    actor: event.envelope.attributes.actor.to_string(),
                    decided_at: event.envelope.attributes.time.to_utc(),
                    sequence: event.sequence(),
                };
                self.grants.insert((pipeline_id, user_id), grant);
            }
        }
        Ok(())
    }

    /// A user that the event touches.
    fn user(&mut self, id: UserId, event: &LedgerEvent) -> Result<&mut UserRow, ApplyError> {
        let user = self.users.get_mut(&id.0).ok_or_else(|| unknown("user", &id))?;
        user.changed_at = event.envelope.attributes.time.to_utc();
        (user.version, user.changed_offset) = (event.sequence(), event.offset);
        Ok(user)
    }

    fn membership(
        &mut self,
        id: UserId,
        site: Option<&SiteId>,
        given: RoleSet,
        event: &LedgerEvent,
    ) -> Result<(), ApplyError> {
        self.user(id, event)?;
        let site = site.map(SiteId::to_string).unwrap_or_default();
        let membership = MembershipRow {
            user_id: id.0,
            site: site.clone(),
            roles: roles(given),
            actor: event.envelope.attributes.actor.to_string(),
            decided_at: event.envelope.attributes.time.to_utc(),
            sequence: event.sequence(),
        };
        self.memberships.insert((id.0, site), membership);
        Ok(())
    }
}

fn unknown(kind: &str, id: &dyn std::fmt::Display) -> ApplyError {
    ApplyError::Inconsistent(format!("{kind} {id} is not known"))
}

fn roles(set: RoleSet) -> Vec<String> {
    set.iter().map(Role::as_str).map(str::to_owned).collect()
}

fn rights(set: RightSet) -> Vec<String> {
    set.iter().map(PipelineRight::as_str).map(str::to_owned).collect()
}

fn registered(data: &UserRegistered, partition: i32, event: &LedgerEvent) -> UserRow {
    let decided_at = event.envelope.attributes.time.to_utc();
    UserRow {
        id: data.user_id.0,
        name: Json(data.name.clone()),
        email: Json(data.email.clone()),
        active: true,
        actor: event.envelope.attributes.actor.to_string(),
        decided_at,
        changed_at: decided_at,
        version: event.sequence(),
        partition,
        changed_offset: event.offset,
    }
}

fn issued(data: &ApiKeyIssued, partition: i32, event: &LedgerEvent) -> KeyRow {
    KeyRow {
        id: data.key_id.0,
        label: data.label.clone(),
        prefix: data.prefix.clone(),
        roles: roles(data.roles),
        sites: data.sites.iter().map(SiteId::to_string).collect(),
        expires_at: data.expires_at.to_utc(),
        revoked_at: None,
        actor: event.envelope.attributes.actor.to_string(),
        decided_at: event.envelope.attributes.time.to_utc(),
        version: event.sequence(),
        partition,
        changed_offset: event.offset,
    }
}

/// Lists as single texts, since PostgreSQL can't unnest an array of arrays into arrays. No name has a comma in it.
fn joined(lists: impl Iterator<Item = impl AsRef<[String]>>) -> Vec<String> {
    lists.map(|list| list.as_ref().join(",")).collect()
}

async fn write_sites(db: &mut PgConnection, slice: Slice<'_>, rows: &[SiteRow]) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO read.access_sites (tenant, id, name, time_zone, actor, decided_at, version, partition, changed_offset, generation)
         SELECT $1, id, name, time_zone, actor, decided_at, version, partition, changed_offset, $10
         FROM UNNEST($2::TEXT[], $3::TEXT[], $4::TEXT[], $5::TEXT[], $6::TIMESTAMPTZ[], $7::BIGINT[], $8::INTEGER[], $9::BIGINT[])
            AS u (id, name, time_zone, actor, decided_at, version, partition, changed_offset)",
        slice.tenant,
        &rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.time_zone.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.actor.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.decided_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.version).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.partition).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.changed_offset).collect::<Vec<_>>(),
        slice.generation,
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn write_users(db: &mut PgConnection, slice: Slice<'_>, rows: Vec<UserRow>) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    let json = |field: &Json<Personal>| serde_json::to_string(field);
    let names = rows.iter().map(|row| json(&row.name)).collect::<Result<Vec<_>, _>>()?;
    let emails = rows.iter().map(|row| json(&row.email)).collect::<Result<Vec<_>, _>>()?;
    sqlx::query!(
        "INSERT INTO read.access_users (tenant, id, name, email, active, actor, decided_at, changed_at, version, partition,
            changed_offset, generation)
         SELECT $1, id, name::JSON, email::JSON, active, actor, decided_at, changed_at, version, partition, changed_offset, $12
         FROM UNNEST($2::UUID[], $3::TEXT[], $4::TEXT[], $5::BOOLEAN[], $6::TEXT[], $7::TIMESTAMPTZ[], $8::TIMESTAMPTZ[],
            $9::BIGINT[], $10::INTEGER[], $11::BIGINT[])
            AS u (id, name, email, active, actor, decided_at, changed_at, version, partition, changed_offset)
         ON CONFLICT (tenant, generation, id) DO UPDATE SET name = EXCLUDED.name, email = EXCLUDED.email, active = EXCLUDED.active,
            changed_at = EXCLUDED.changed_at, version = EXCLUDED.version, changed_offset = EXCLUDED.changed_offset",
        slice.tenant,
        &rows.iter().map(|row| row.id).collect::<Vec<_>>(),
        &names,
        &emails,
        &rows.iter().map(|row| row.active).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.actor.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.decided_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.changed_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.version).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.partition).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.changed_offset).collect::<Vec<_>>(),
        slice.generation,
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn write_memberships(
    db: &mut PgConnection,
    slice: Slice<'_>,
    rows: Vec<MembershipRow>,
) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    let users = |rows: &[MembershipRow]| rows.iter().map(|row| row.user_id).collect::<Vec<_>>();
    let sites = |rows: &[MembershipRow]| rows.iter().map(|row| row.site.clone()).collect::<Vec<_>>();
    sqlx::query!(
        "DELETE FROM read.access_memberships AS kept USING UNNEST($2::UUID[], $3::TEXT[]) AS u (user_id, site)
         WHERE kept.tenant || '' = $1 AND kept.generation = $4 AND kept.user_id = u.user_id AND kept.site = u.site",
        slice.tenant,
        &users(&rows),
        &sites(&rows),
        slice.generation,
    )
    .execute(&mut *db)
    .await?;
    let rows: Vec<MembershipRow> = rows.into_iter().filter(|row| !row.roles.is_empty()).collect();
    sqlx::query!(
        "INSERT INTO read.access_memberships (tenant, user_id, site, roles, actor, decided_at, sequence, generation)
         SELECT $1, user_id, site, STRING_TO_ARRAY(roles, ','), actor, decided_at, sequence, $8
         FROM UNNEST($2::UUID[], $3::TEXT[], $4::TEXT[], $5::TEXT[], $6::TIMESTAMPTZ[], $7::BIGINT[])
            AS u (user_id, site, roles, actor, decided_at, sequence)",
        slice.tenant,
        &users(&rows),
        &sites(&rows),
        &joined(rows.iter().map(|row| &row.roles)),
        &rows.iter().map(|row| row.actor.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.decided_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.sequence).collect::<Vec<_>>(),
        slice.generation,
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn write_keys(db: &mut PgConnection, slice: Slice<'_>, rows: Vec<KeyRow>) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO read.access_keys (tenant, id, label, prefix, roles, sites, expires_at, revoked_at, actor, decided_at, version,
            partition, changed_offset, generation)
         SELECT $1, id, label, prefix, STRING_TO_ARRAY(roles, ','), STRING_TO_ARRAY(sites, ','), expires_at, revoked_at, actor,
            decided_at, version, partition, changed_offset, $14
         FROM UNNEST($2::UUID[], $3::TEXT[], $4::TEXT[], $5::TEXT[], $6::TEXT[], $7::TIMESTAMPTZ[], $8::TIMESTAMPTZ[], $9::TEXT[],
            $10::TIMESTAMPTZ[], $11::BIGINT[], $12::INTEGER[], $13::BIGINT[])
            AS u (id, label, prefix, roles, sites, expires_at, revoked_at, actor, decided_at, version, partition, changed_offset)
         ON CONFLICT (tenant, generation, id) DO UPDATE SET revoked_at = EXCLUDED.revoked_at, version = EXCLUDED.version,
            changed_offset = EXCLUDED.changed_offset",
        slice.tenant,
        &rows.iter().map(|row| row.id).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.label.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.prefix.as_str()).collect::<Vec<_>>() as _,
        &joined(rows.iter().map(|row| &row.roles)),
        &joined(rows.iter().map(|row| &row.sites)),
        &rows.iter().map(|row| row.expires_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.revoked_at).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.actor.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.decided_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.version).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.partition).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.changed_offset).collect::<Vec<_>>(),
        slice.generation,
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn write_grants(db: &mut PgConnection, slice: Slice<'_>, rows: Vec<GrantRow>) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    let pipelines = |rows: &[GrantRow]| rows.iter().map(|row| row.pipeline_id).collect::<Vec<_>>();
    let users = |rows: &[GrantRow]| rows.iter().map(|row| row.user_id).collect::<Vec<_>>();
    sqlx::query!(
        "DELETE FROM read.access_grants AS kept USING UNNEST($2::UUID[], $3::UUID[]) AS u (pipeline_id, user_id)
         WHERE kept.tenant || '' = $1 AND kept.generation = $4 AND kept.pipeline_id = u.pipeline_id
            AND kept.user_id = u.user_id",
        slice.tenant,
        &pipelines(&rows),
        &users(&rows),
        slice.generation,
    )
    .execute(&mut *db)
    .await?;
    let rows: Vec<GrantRow> = rows.into_iter().filter(|row| !row.rights.is_empty()).collect();
    sqlx::query!(
        "INSERT INTO read.access_grants (tenant, pipeline_id, user_id, rights, actor, decided_at, sequence, generation)
         SELECT $1, pipeline_id, user_id, STRING_TO_ARRAY(rights, ','), actor, decided_at, sequence, $8
         FROM UNNEST($2::UUID[], $3::UUID[], $4::TEXT[], $5::TEXT[], $6::TIMESTAMPTZ[], $7::BIGINT[])
            AS u (pipeline_id, user_id, rights, actor, decided_at, sequence)",
        slice.tenant,
        &pipelines(&rows),
        &users(&rows),
        &joined(rows.iter().map(|row| &row.rights)),
        &rows.iter().map(|row| row.actor.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.decided_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.sequence).collect::<Vec<_>>(),
        slice.generation,
    )
    .execute(db)
    .await?;
    Ok(())
}
