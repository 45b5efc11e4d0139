//! People, keys and what they may do: for administrators to look at, and for everybody about themselves.
//!
//! Lists come from the read model `access`; [`Me`] comes from the ledger's fold, which is what decides. Names and addresses are shown to
//! administrators and to their owner. They are encrypted under the person's key: once that is destroyed they are null, and `erased` is true.

use async_graphql::connection::Connection;
use async_graphql::{ComplexObject, Context, Enum, Error, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use lotline_domain::access::actor::Actor;
use lotline_domain::access::command::{email_context, name_context};
use lotline_domain::access::grant::{PipelineRight as DomainRight, RightSet};
use lotline_domain::access::role::{Permission as DomainPermission, PermissionSet, Role as DomainRole, RoleSet};
use lotline_domain::id::{ApiKeyId, UserId};
use lotline_domain::personal::Personal;
use lotline_domain::timestamp::Timestamp;
use lotline_projections::access::{self, KeyRow, UserRow};
use lotline_projections::model::Model;
use lotline_projections::page::Page;
use uuid::Uuid;

use super::connection::{self, Cursor};
use super::failure::OrFail;
use super::global_id::NodeId;
use super::loaders::{GrantsOf, KeyById, LastUseOf, RolesOf, UserById};
use super::mutation::access::Role;
use super::scalar::{PositionToken, Version};
use super::scope::Scope;
use crate::guard::cost;

/// What roles grant.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "DomainPermission")]
pub enum Permission {
    /// Look at dashboards, lots and runs.
    LookUp,
    /// Give commands on lots, runs and QC.
    Decide,
    /// Have pipelines run.
    ExecutePipelines,
    /// Change devices, signals and pipelines.
    Engineer,
    /// Use the validator: audit trail, trace graph, reports, compliance.
    Validate,
    /// Administer the tenant or the site.
    Administer,
    /// Release what is on hold.
    Release,
}

/// What may be done with one pipeline.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "DomainRight")]
pub enum PipelineRight {
    /// Look at it and its runs.
    View,
    /// Change its draft; includes VIEW.
    Edit,
    /// Have it run; includes VIEW.
    Execute,
    /// Publish and archive it, say who else may what; includes EDIT.
    Manage,
}

/// Roles in one place.
#[derive(SimpleObject, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Where; everywhere when null.
    pub site: Option<String>,
    /// The roles there.
    pub roles: Vec<Role>,
    /// What is granted there, by these roles and by those that hold everywhere.
    pub permissions: Vec<Permission>,
}

/// Rights on one pipeline, beside what roles grant.
#[derive(SimpleObject, Debug, PartialEq, Eq)]
pub struct PipelineAccess {
    /// Global id of the pipeline.
    pub pipeline_id: ID,
    /// The rights.
    pub rights: Vec<PipelineRight>,
}

/// Memberships as they are shown: everywhere first, then by site.
fn memberships(places: Vec<(Option<String>, RoleSet)>) -> Vec<Membership> {
    let everywhere = places.iter().find(|(site, _)| site.is_none()).map_or(RoleSet::EMPTY, |(_, roles)| *roles);
    let shown = places.into_iter().map(|(site, roles)| Membership {
        site,
        roles: roles.iter().map(Role::from).collect(),
        permissions: permissions(everywhere.and(roles).permissions()),
    });
    shown.collect()
}

fn permissions(set: PermissionSet) -> Vec<Permission> {
    set.iter().map(Permission::from).collect()
}

fn pipeline_access(pipeline: Uuid, rights: RightSet) -> PipelineAccess {
    let rights = rights.iter().map(PipelineRight::from).collect();
    PipelineAccess { pipeline_id: NodeId::Pipeline(pipeline).encode(), rights }
}

fn read_roles(names: &[String]) -> Result<RoleSet, Error> {
    let roles: Option<RoleSet> = names.iter().map(|name| DomainRole::parse(name)).collect();
    roles.ok_or("unknown role").or_fail("read roles")
}

/// A person.
pub struct User(pub UserRow);

impl User {
    /// A personal field, to whom it may be shown; nothing when its key was destroyed.
    async fn open(&self, ctx: &Context<'_>, place: String, sealed: &Personal) -> Result<Option<String>, Error> {
        let scope = Scope::of(ctx);
        let own = scope.actor() == Actor::User(UserId(self.0.id));
        if !own && !scope.sight()?.may(DomainPermission::Administer) {
            return Ok(None);
        }
        let key = scope.loader.load_one(KeyById(sealed.key_id)).await.or_fail("read a personal key")?;
        key.map(|key| key.open(&place, sealed)).transpose().or_fail("open a personal field")
    }
}

/// A person.
#[Object]
impl User {
    /// The person's UUID, as mutations take it and as it stands in events.
    async fn user_id(&self) -> Uuid {
        self.0.id
    }

    /// For administrators and the person; null for others, and when the person was erased.
    async fn name(&self, ctx: &Context<'_>) -> Result<Option<String>, Error> {
        self.open(ctx, name_context(UserId(self.0.id)), &self.0.name.0).await
    }

    /// The login name: for administrators and the person; null for others, and when the person was erased.
    async fn email(&self, ctx: &Context<'_>) -> Result<Option<String>, Error> {
        self.open(ctx, email_context(UserId(self.0.id)), &self.0.email.0).await
    }

    /// Whether the key of the person's data was destroyed: nobody can read name and address any more.
    async fn erased(&self, ctx: &Context<'_>) -> Result<bool, Error> {
        let key = Scope::of(ctx).loader.load_one(KeyById(self.0.name.0.key_id)).await;
        Ok(key.or_fail("read a personal key")?.is_none())
    }

    /// Whether the person may act.
    async fn active(&self) -> bool {
        self.0.active
    }

    /// Roles, everywhere first and then by site. Of somebody who is not active they grant nothing at present.
    #[graphql(complexity = "cost::list(child_complexity)")]
    async fn memberships(&self, ctx: &Context<'_>) -> Result<Vec<Membership>, Error> {
        let rows = Scope::of(ctx).loader.load_one(RolesOf(self.0.id)).await.or_fail("read roles")?;
        let place = |site: String| if site.is_empty() { None } else { Some(site) };
        let rows = rows.unwrap_or_default().into_iter();
        let places: Result<Vec<_>, Error> = rows.map(|row| Ok((place(row.site), read_roles(&row.roles)?))).collect();
        places.map(memberships)
    }

    /// Rights on single pipelines.
    #[graphql(complexity = "cost::list(child_complexity)")]
    async fn pipeline_access(&self, ctx: &Context<'_>) -> Result<Vec<PipelineAccess>, Error> {
        let rows = Scope::of(ctx).loader.load_one(GrantsOf(self.0.id)).await.or_fail("read rights")?;
        let shown = rows.unwrap_or_default().into_iter().map(|row| {
            let known = |name: &String| DomainRight::ALL.into_iter().find(|right| right.as_str() == name);
            let rights: Option<RightSet> = row.rights.iter().map(known).collect();
            let rights = rights.ok_or("unknown right").or_fail("read rights")?;
            Ok(pipeline_access(row.pipeline_id, rights))
        });
        shown.collect()
    }

    /// Who made the person known.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }

    /// When the last change was recorded, of roles too.
    async fn changed_at(&self) -> DateTime<Utc> {
        self.0.changed_at
    }

    /// What `expectedVersion` is compared with.
    async fn version(&self) -> Version {
        self.0.version.into()
    }
}

/// A key by which a program comes in. Its secret was shown once, and is not kept.
pub struct ApiKey(pub KeyRow);

/// A key by which a program comes in. Its secret was shown once, and is not kept.
#[Object]
impl ApiKey {
    /// The key's UUID, as mutations take it and as it stands in events.
    async fn key_id(&self) -> Uuid {
        self.0.id
    }

    /// What it is for.
    async fn label(&self) -> &str {
        &self.0.label
    }

    /// Its short unique name.
    async fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// What it may act as.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous to the macro")]
    async fn roles(&self) -> Result<Vec<Role>, Error> {
        Ok(read_roles(&self.0.roles)?.iter().map(Role::from).collect())
    }

    /// Where; everywhere when empty.
    async fn sites(&self) -> &[String] {
        &self.0.sites
    }

    /// From then on it may do nothing.
    async fn expires_at(&self) -> DateTime<Utc> {
        self.0.expires_at
    }

    /// When it was revoked; null when it was not.
    async fn revoked_at(&self) -> Option<DateTime<Utc>> {
        self.0.revoked_at
    }

    /// When it was last used, to the minute; null when it never was, and once it is revoked.
    async fn last_used_at(&self, ctx: &Context<'_>) -> Result<Option<DateTime<Utc>>, Error> {
        let used = Scope::of(ctx).loader.load_one(LastUseOf(ApiKeyId(self.0.id))).await;
        Ok(used.or_fail("read when keys were used")?.map(Timestamp::to_utc))
    }

    /// Who issued it.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }

    /// Sequence of the last event that touched it.
    async fn version(&self) -> Version {
        self.0.version.into()
    }
}

/// The caller, and what they may do at this moment.
#[derive(SimpleObject)]
#[graphql(complex)]
pub struct Me {
    /// Under which id decisions are recorded: `user:<uuid>`, `key:<uuid>`, or in development mode any name.
    pub actor: String,
    /// Roles and what they grant, everywhere first and then by site. In development mode everything, by no role.
    #[graphql(complexity = "cost::list(child_complexity)")]
    pub memberships: Vec<Membership>,
    /// Rights on single pipelines.
    #[graphql(complexity = "cost::list(child_complexity)")]
    pub pipeline_access: Vec<PipelineAccess>,
    #[graphql(skip)]
    user: Option<UserId>,
}

#[ComplexObject]
impl Me {
    /// The person; null for a program, and for a moment after somebody was invited.
    async fn user(&self, ctx: &Context<'_>) -> Result<Option<User>, Error> {
        let Some(UserId(id)) = self.user else { return Ok(None) };
        Ok(Scope::of(ctx).loader.load_one(UserById(id)).await.or_fail("read a user")?.map(User))
    }
}

/// People and keys.
#[derive(Default)]
pub struct PeopleQuery;

#[Object]
impl PeopleQuery {
    /// Who asks.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous to the macro")]
    async fn me(&self, ctx: &Context<'_>) -> Result<Me, Error> {
        let scope = Scope::of(ctx);
        let sight = scope.sight()?;
        let memberships = if let Some(places) = sight.memberships() {
            memberships(places.into_iter().map(|(site, roles)| (site.map(|site| site.to_string()), roles)).collect())
        } else {
            let permissions = permissions(PermissionSet::of(&DomainPermission::ALL));
            vec![Membership { site: None, roles: Vec::new(), permissions }]
        };
        let grants = sight.grants().into_iter();
        Ok(Me {
            actor: scope.caller.actor.to_string(),
            memberships,
            pipeline_access: grants.map(|(pipeline, rights)| pipeline_access(pipeline.0, rights)).collect(),
            user: if let Actor::User(id) = scope.actor() { Some(id) } else { None },
        })
    }

    /// People, the newest first.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    async fn users(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those who may act, or only those who may not.")] active: Option<bool>,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Cursor of the last person of the page before.")] after: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Connection<Cursor, User>, Error> {
        let scope = Scope::of(ctx);
        let size = connection::size(first)?;
        let after = connection::after(after.as_deref(), |text| Uuid::try_parse(text).ok())?;
        scope.wait(ctx, &[Model::Access], consistent_with, consistency_timeout_ms).await?;
        let page = Page { first: size + 1, after };
        let rows = access::users(scope.pool(), scope.tenant(), active, &page).await.or_fail("list users")?;
        Ok(connection::connection(rows, size, after.is_some(), |row| Cursor::new(&row.id), User))
    }

    /// Keys of programs, the newest first.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    async fn api_keys(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those that were revoked, or only the others.")] revoked: Option<bool>,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Cursor of the last key of the page before.")] after: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Connection<Cursor, ApiKey>, Error> {
        let scope = Scope::of(ctx);
        let size = connection::size(first)?;
        let after = connection::after(after.as_deref(), |text| Uuid::try_parse(text).ok())?;
        scope.wait(ctx, &[Model::Access], consistent_with, consistency_timeout_ms).await?;
        let page = Page { first: size + 1, after };
        let rows = access::keys(scope.pool(), scope.tenant(), revoked, &page).await.or_fail("list keys")?;
        Ok(connection::connection(rows, size, after.is_some(), |row| Cursor::new(&row.id), ApiKey))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_everywhere_holds_at_each_site() {
        let viewer = RoleSet::of(&[DomainRole::Viewer]);
        let shown = memberships(vec![(None, viewer), (Some("north".into()), RoleSet::of(&[DomainRole::Auditor]))]);
        assert_eq!((&shown[0].site, &shown[0].permissions), (&None, &vec![Permission::LookUp]));
        assert_eq!(shown[1].roles, [Role::Auditor]);
        assert_eq!(shown[1].permissions, [Permission::LookUp, Permission::Validate]);
        let only = memberships(vec![(Some("north".into()), viewer)]);
        assert_eq!(only[0].permissions, [Permission::LookUp]);
    }

    #[test]
    fn an_unknown_role_is_no_role() {
        assert!(read_roles(&["OWNER".into()]).is_err());
        assert_eq!(read_roles(&["VIEWER".into()]).unwrap(), RoleSet::of(&[DomainRole::Viewer]));
    }
}
