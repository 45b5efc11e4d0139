//! What rows of one answer look up, batched: whatever the number of lots on a page, their parents are one query.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use async_graphql::dataloader::Loader;
use lotline_domain::id::{ApiKeyId, TenantId};
use lotline_domain::identity::port::StoreError;
use lotline_domain::personal::PersonalKey;
use lotline_domain::port::{LogError, PersonalKeys};
use lotline_domain::timestamp::Timestamp;
use lotline_projections::access::{self, GrantRow, MembershipRow, UserRow};
use lotline_projections::genealogy::{self, EdgeRow};
use lotline_projections::holds::{self, HeldLotRow, HoldRow};
use lotline_projections::lots::{self, LotRow};
use lotline_projections::master::{self, PartnerRow};
use lotline_projections::pipelines::{self, PipelineRow, VersionRow};
use lotline_projections::qc_decisions::{self, QcDecisionRow};
use lotline_projections::receipts::{self, ReceiptRow};
use lotline_projections::runs::{self, RunRow};
use lotline_projections::samples::{self, LatestRow};
use lotline_projections::scenarios::{self, ScenarioRow};
use lotline_projections::shipments::{self, ShipmentRow, ShippedLotRow};
use lotline_projections::signals::{self, SignalKey, SignalRow};
use lotline_projections::transformations::{self, TransformationRow};
use sqlx::PgPool;
use uuid::Uuid;

use crate::auth::Door;
use crate::server::ApiState;

/// Reads the tables of one tenant.
pub struct Tables {
    pool: PgPool,
    tenant: TenantId,
    keys: Arc<dyn PersonalKeys>,
    door: Door,
}

/// A lot by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LotById(pub Uuid);
/// What made lots out of lots, by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransformationById(pub Uuid);
/// How a lot came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReceiptOf(pub Uuid);
/// A shipment by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShipmentById(pub Uuid);
/// What left with a shipment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShippedLotsOf(pub Uuid);
/// With what a lot left: the newest so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShipmentsOf(pub Uuid, pub u32);
/// A supplier or customer by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PartnerById(pub Uuid);
/// A pipeline by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PipelineById(pub Uuid);
/// What a lot was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParentsOf(pub Uuid);
/// What was made from a lot: the newest so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChildrenOf(pub Uuid, pub u32);
/// Decisions on a lot: the newest so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DecisionsOn(pub Uuid, pub u32);
/// Versions of a pipeline: the newest so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionsOf(pub Uuid, pub u32);
/// A scenario by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScenarioById(pub Uuid);
/// Versions of a scenario: the newest so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScenarioVersionsOf(pub Uuid, pub u32);
/// A run by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunById(pub Uuid);
/// Phases of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunPhasesOf(pub Uuid);
/// Lots of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunLotsOf(pub Uuid);
/// Decisions in force at the gates of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InForceOf(pub Uuid);
/// Decisions at the gates of a run: the newest so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunDecisionsOf(pub Uuid, pub u32);
/// A hold by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HoldById(pub Uuid);
/// The holds that a lot is or was on: so many, those that it is on first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HoldsOn(pub Uuid, pub u32);
/// Whether a lot is on hold; nothing when it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IsHeld(pub Uuid);
/// A signal's declaration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SignalByKey(pub SignalKey);
/// A signal's latest value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LatestOf(pub SignalKey);
/// A key of personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyById(pub Uuid);

/// A user by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserById(pub Uuid);
/// A user's roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RolesOf(pub Uuid);
/// A user's rights on pipelines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GrantsOf(pub Uuid);
/// When an API key was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LastUseOf(pub ApiKeyId);

type Rows<K, V> = Result<HashMap<K, V>, Arc<sqlx::Error>>;

impl Tables {
    /// Of the served tenant.
    pub fn new(state: &ApiState) -> Self {
        let (pool, tenant, keys) = (state.pool.clone(), state.tenant.clone(), Arc::clone(&state.keys));
        Self { pool, tenant, keys, door: state.door.clone() }
    }
}

impl Loader<LotById> for Tables {
    type Value = LotRow;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[LotById]) -> Rows<LotById, LotRow> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let rows = lots::by_ids(&self.pool, &self.tenant, &ids).await?;
        Ok(rows.into_iter().map(|row| (LotById(row.id), row)).collect())
    }
}

impl Loader<TransformationById> for Tables {
    type Value = TransformationRow;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[TransformationById]) -> Rows<TransformationById, TransformationRow> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let rows = transformations::by_ids(&self.pool, &self.tenant, &ids).await?;
        Ok(rows.into_iter().map(|row| (TransformationById(row.id), row)).collect())
    }
}

/// Rows that are found by their own id.
macro_rules! by_id {
    ($($key:ident, $row:ty, $query:path, $id:ident;)*) => {$(
        impl Loader<$key> for Tables {
            type Value = $row;
            type Error = Arc<sqlx::Error>;

            async fn load(&self, keys: &[$key]) -> Rows<$key, $row> {
                let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
                let rows = $query(&self.pool, &self.tenant, &ids).await?;
                Ok(rows.into_iter().map(|row| ($key(row.$id), row)).collect())
            }
        }
    )*};
}

by_id! {
    ReceiptOf, ReceiptRow, receipts::of_lots, lot_id;
    ShipmentById, ShipmentRow, shipments::by_ids, id;
    PartnerById, PartnerRow, master::partners_by_ids, id;
}

impl Loader<ShippedLotsOf> for Tables {
    type Value = Vec<ShippedLotRow>;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[ShippedLotsOf]) -> Rows<ShippedLotsOf, Vec<ShippedLotRow>> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let rows = shipments::lots_of(&self.pool, &self.tenant, &ids).await?;
        Ok(grouped(rows, |row| ShippedLotsOf(row.shipment_id)))
    }
}

impl Loader<ShipmentsOf> for Tables {
    type Value = Vec<ShippedLotRow>;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[ShipmentsOf]) -> Rows<ShipmentsOf, Vec<ShippedLotRow>> {
        let mut found = HashMap::new();
        for (first, ids) in by_size(keys.iter().map(|key| (key.1, key.0))) {
            let rows = shipments::of_lots(&self.pool, &self.tenant, &ids, first).await?;
            found.extend(grouped(rows, |row| ShipmentsOf(row.lot_id, first)));
        }
        Ok(found)
    }
}

impl Loader<PipelineById> for Tables {
    type Value = PipelineRow;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[PipelineById]) -> Rows<PipelineById, PipelineRow> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let rows = pipelines::by_ids(&self.pool, &self.tenant, &ids).await?;
        Ok(rows.into_iter().map(|row| (PipelineById(row.id), row)).collect())
    }
}

impl Loader<ParentsOf> for Tables {
    type Value = Vec<EdgeRow>;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[ParentsOf]) -> Rows<ParentsOf, Vec<EdgeRow>> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let rows = genealogy::parents_of(&self.pool, &self.tenant, &ids).await?;
        Ok(grouped(rows, |row| ParentsOf(row.child_id)))
    }
}

impl Loader<ChildrenOf> for Tables {
    type Value = Vec<EdgeRow>;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[ChildrenOf]) -> Rows<ChildrenOf, Vec<EdgeRow>> {
        let mut found = HashMap::new();
        for (first, ids) in by_size(keys.iter().map(|key| (key.1, key.0))) {
            let rows = genealogy::children_of(&self.pool, &self.tenant, &ids, first).await?;
            found.extend(grouped(rows, |row| ChildrenOf(row.parent_id, first)));
        }
        Ok(found)
    }
}

impl Loader<DecisionsOn> for Tables {
    type Value = Vec<QcDecisionRow>;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[DecisionsOn]) -> Rows<DecisionsOn, Vec<QcDecisionRow>> {
        let mut found = HashMap::new();
        for (first, ids) in by_size(keys.iter().map(|key| (key.1, key.0))) {
            let rows = qc_decisions::by_lots(&self.pool, &self.tenant, &ids, first).await?;
            found.extend(grouped(rows, |row| DecisionsOn(row.lot_id, first)));
        }
        Ok(found)
    }
}

impl Loader<VersionsOf> for Tables {
    type Value = Vec<VersionRow>;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[VersionsOf]) -> Rows<VersionsOf, Vec<VersionRow>> {
        let mut found = HashMap::new();
        for (first, ids) in by_size(keys.iter().map(|key| (key.1, key.0))) {
            let rows = pipelines::versions_of(&self.pool, &self.tenant, &ids, first).await?;
            found.extend(grouped(rows, |row| VersionsOf(row.pipeline_id, first)));
        }
        Ok(found)
    }
}

impl Loader<ScenarioById> for Tables {
    type Value = ScenarioRow;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[ScenarioById]) -> Rows<ScenarioById, ScenarioRow> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let rows = scenarios::by_ids(&self.pool, &self.tenant, &ids).await?;
        Ok(rows.into_iter().map(|row| (ScenarioById(row.id), row)).collect())
    }
}

impl Loader<ScenarioVersionsOf> for Tables {
    type Value = Vec<scenarios::VersionRow>;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[ScenarioVersionsOf]) -> Rows<ScenarioVersionsOf, Vec<scenarios::VersionRow>> {
        let mut found = HashMap::new();
        for (first, ids) in by_size(keys.iter().map(|key| (key.1, key.0))) {
            let rows = scenarios::versions_of(&self.pool, &self.tenant, &ids, first).await?;
            found.extend(grouped(rows, |row| ScenarioVersionsOf(row.scenario_id, first)));
        }
        Ok(found)
    }
}

impl Loader<RunById> for Tables {
    type Value = RunRow;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[RunById]) -> Rows<RunById, RunRow> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let rows = runs::by_ids(&self.pool, &self.tenant, &ids).await?;
        Ok(rows.into_iter().map(|row| (RunById(row.id), row)).collect())
    }
}

/// What runs have, all of it in one query.
macro_rules! parts_of_runs {
    ($($key:ident, $row:ident, $query:ident;)*) => {$(
        impl Loader<$key> for Tables {
            type Value = Vec<runs::$row>;
            type Error = Arc<sqlx::Error>;

            async fn load(&self, keys: &[$key]) -> Rows<$key, Vec<runs::$row>> {
                let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
                Ok(grouped(runs::$query(&self.pool, &self.tenant, &ids).await?, |row| $key(row.run_id)))
            }
        }
    )*};
}

parts_of_runs! {
    RunPhasesOf, PhaseRow, phases_of;
    RunLotsOf, RunLotRow, lots_of;
    InForceOf, InForceRow, in_force;
}

impl Loader<RunDecisionsOf> for Tables {
    type Value = Vec<runs::DecisionRow>;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[RunDecisionsOf]) -> Rows<RunDecisionsOf, Vec<runs::DecisionRow>> {
        let mut found = HashMap::new();
        for (first, ids) in by_size(keys.iter().map(|key| (key.1, key.0))) {
            let rows = runs::decisions_of(&self.pool, &self.tenant, &ids, first).await?;
            found.extend(grouped(rows, |row| RunDecisionsOf(row.run_id, first)));
        }
        Ok(found)
    }
}

impl Loader<HoldById> for Tables {
    type Value = HoldRow;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[HoldById]) -> Rows<HoldById, HoldRow> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let rows = holds::by_ids(&self.pool, &self.tenant, &ids).await?;
        Ok(rows.into_iter().map(|row| (HoldById(row.id), row)).collect())
    }
}

impl Loader<HoldsOn> for Tables {
    type Value = Vec<HeldLotRow>;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[HoldsOn]) -> Rows<HoldsOn, Vec<HeldLotRow>> {
        let mut found = HashMap::new();
        for (first, ids) in by_size(keys.iter().map(|key| (key.1, key.0))) {
            let rows = holds::on_lots(&self.pool, &self.tenant, &ids, first).await?;
            found.extend(grouped(rows, |row| HoldsOn(row.lot_id, first)));
        }
        Ok(found)
    }
}

impl Loader<IsHeld> for Tables {
    type Value = ();
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[IsHeld]) -> Rows<IsHeld, ()> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let held = holds::held_among(&self.pool, &self.tenant, &ids).await?;
        Ok(held.into_iter().map(|lot| (IsHeld(lot), ())).collect())
    }
}

impl Loader<SignalByKey> for Tables {
    type Value = SignalRow;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[SignalByKey]) -> Rows<SignalByKey, SignalRow> {
        let keys: Vec<SignalKey> = keys.iter().map(|key| key.0.clone()).collect();
        let rows = signals::by_keys(&self.pool, &self.tenant, &keys).await?;
        let key = |row: &SignalRow| SignalByKey(SignalKey { site: row.site.clone(), number: row.number });
        Ok(rows.into_iter().map(|row| (key(&row), row)).collect())
    }
}

impl Loader<LatestOf> for Tables {
    type Value = LatestRow;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[LatestOf]) -> Rows<LatestOf, LatestRow> {
        let keys: Vec<SignalKey> = keys.iter().map(|key| key.0.clone()).collect();
        let rows = samples::latest(&self.pool, &self.tenant, &keys).await?;
        let key = |row: &LatestRow| LatestOf(SignalKey { site: row.site.clone(), number: row.number });
        Ok(rows.into_iter().map(|row| (key(&row), row)).collect())
    }
}

impl Loader<KeyById> for Tables {
    type Value = PersonalKey;
    type Error = Arc<LogError>;

    async fn load(&self, keys: &[KeyById]) -> Result<HashMap<KeyById, PersonalKey>, Arc<LogError>> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let found = self.keys.keys(&self.tenant, &ids).await?;
        Ok(found.into_iter().map(|key| (KeyById(key.id), key)).collect())
    }
}

impl Loader<UserById> for Tables {
    type Value = UserRow;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[UserById]) -> Rows<UserById, UserRow> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let rows = access::users_by_ids(&self.pool, &self.tenant, &ids).await?;
        Ok(rows.into_iter().map(|row| (UserById(row.id), row)).collect())
    }
}

impl Loader<RolesOf> for Tables {
    type Value = Vec<MembershipRow>;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[RolesOf]) -> Rows<RolesOf, Vec<MembershipRow>> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let rows = access::memberships_of(&self.pool, &self.tenant, &ids).await?;
        Ok(grouped(rows, |row| RolesOf(row.user_id)))
    }
}

impl Loader<GrantsOf> for Tables {
    type Value = Vec<GrantRow>;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, keys: &[GrantsOf]) -> Rows<GrantsOf, Vec<GrantRow>> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let rows = access::grants_of(&self.pool, &self.tenant, &ids).await?;
        Ok(grouped(rows, |row| GrantsOf(row.user_id)))
    }
}

impl Loader<LastUseOf> for Tables {
    type Value = Timestamp;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[LastUseOf]) -> Result<HashMap<LastUseOf, Timestamp>, Arc<StoreError>> {
        // In development mode keys have no secrets, and so no use.
        let Door::Guarded(guard) = &self.door else { return Ok(HashMap::new()) };
        let ids: Vec<ApiKeyId> = keys.iter().map(|key| key.0).collect();
        let used = guard.identity.api_keys.last_used(&ids).await?;
        Ok(used.into_iter().map(|(key, time)| (LastUseOf(key), time)).collect())
    }
}

fn grouped<K: Hash + Eq, R>(rows: Vec<R>, key: impl Fn(&R) -> K) -> HashMap<K, Vec<R>> {
    let mut groups: HashMap<K, Vec<R>> = HashMap::new();
    for row in rows {
        groups.entry(key(&row)).or_default().push(row);
    }
    groups
}

/// Fields of one answer may ask for different numbers of rows; each number is one query.
fn by_size(keys: impl Iterator<Item = (u32, Uuid)>) -> HashMap<u32, Vec<Uuid>> {
    let mut sizes: HashMap<u32, Vec<Uuid>> = HashMap::new();
    for (size, id) in keys {
        sizes.entry(size).or_default().push(id);
    }
    sizes
}
