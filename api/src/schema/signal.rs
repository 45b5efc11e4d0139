//! Signals: their declarations, latest values, history, and values as they come.

use std::collections::HashSet;

use async_graphql::connection::Connection;
use async_graphql::{ComplexObject, Context, Enum, Error, ID, InputObject, Object, SimpleObject, Subscription, Union};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use lotline_domain::access::role::Permission;
use lotline_domain::id::SiteId;
use lotline_domain::signal::{
    Address, DataType as DomainDataType, ModbusTable as DomainTable, WordOrder as DomainWordOrder,
};
use lotline_projections::model::Model;
use lotline_projections::page::Page;
use lotline_projections::samples::{self, SampleRow, TimeRange};
use lotline_projections::signals::{self, SignalFilter, SignalKey, SignalRow};
use rust_decimal::Decimal;

use super::connection::{self, Cursor};
use super::failure::{OrFail, bad_input};
use super::global_id::{self, NodeId};
use super::live::{self, Change, Feed};
use super::loaders::{LatestOf, SignalByKey};
use super::scalar::{PositionToken, Version};
use super::scope::Scope;
use super::sight::Narrowed;
use crate::guard::cost;

/// Most signals of one subscription or lookup.
pub const MAX_SIGNALS: usize = 1_000;
/// Most values of one history.
const MAX_HISTORY: u32 = 10_000;

/// How a value is laid out in a device.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "DomainDataType")]
pub enum SignalDataType {
    /// One bit.
    #[graphql(name = "BOOL")]
    Bool,
    /// One register, signed.
    #[graphql(name = "I16")]
    I16,
    /// One register.
    #[graphql(name = "U16")]
    U16,
    /// Two registers, signed.
    #[graphql(name = "I32")]
    I32,
    /// Two registers.
    #[graphql(name = "U32")]
    U32,
    /// Four registers, signed.
    #[graphql(name = "I64")]
    I64,
    /// Four registers.
    #[graphql(name = "U64")]
    U64,
    /// Two registers, IEEE 754.
    #[graphql(name = "F32")]
    F32,
    /// Four registers, IEEE 754.
    #[graphql(name = "F64")]
    F64,
}

/// The four address spaces of Modbus.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "DomainTable")]
pub enum ModbusTable {
    /// Writable bits, function 1.
    Coils,
    /// Read-only bits, function 2.
    DiscreteInputs,
    /// Writable registers, function 3.
    HoldingRegisters,
    /// Read-only registers, function 4.
    InputRegisters,
}

/// Order of the bytes of a value of several registers, named by where the bytes of 0xAABBCCDD go.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "DomainWordOrder")]
pub enum WordOrder {
    /// Big-endian, as the Modbus specification has it.
    Abcd,
    /// Words swapped.
    Cdab,
    /// Bytes swapped within words.
    Badc,
    /// Little-endian.
    Dcba,
}

/// A register or bit of a Modbus device.
#[derive(SimpleObject, Debug)]
pub struct ModbusAddress {
    /// Unit (slave) id.
    pub unit: u8,
    /// Address space.
    pub table: ModbusTable,
    /// Zero-based address as on the wire.
    pub address: u16,
    /// Order of bytes.
    pub word_order: WordOrder,
}

/// Where a device keeps a value.
#[derive(Union, Debug)]
pub enum SignalAddress {
    /// Modbus TCP or RTU.
    Modbus(ModbusAddress),
}

/// A value at a time.
#[derive(SimpleObject, Debug)]
#[graphql(complex)]
pub struct SignalValue {
    #[graphql(skip)]
    key: SignalKey,
    /// When the source produced it.
    pub source_time: DateTime<Utc>,
    /// In the signal's unit; null where the quality is bad. Booleans are 0 and 1.
    pub value: Option<f64>,
    /// OPC UA StatusCode, an unsigned 32-bit number in hex such as 0x80310000.
    pub quality: String,
    /// Whether the quality is good.
    pub good: bool,
}

#[ComplexObject]
impl SignalValue {
    /// Global id of the signal.
    async fn signal_id(&self) -> ID {
        NodeId::Signal(self.key.clone()).encode()
    }

    /// The signal.
    async fn signal(&self, ctx: &Context<'_>) -> Result<Option<Signal>, Error> {
        Signal::load(Scope::of(ctx), self.key.clone()).await
    }
}

impl From<SampleRow> for SignalValue {
    fn from(row: SampleRow) -> Self {
        let quality = row.quality();
        Self {
            source_time: row.source_time,
            // NaN is no JSON; a value of bad quality means nothing anyway.
            value: row.value.filter(|value| value.is_finite() && quality.is_good()),
            quality: format!("0x{:08X}", quality.0),
            good: quality.is_good(),
            key: SignalKey { site: row.site, number: row.number },
        }
    }
}

/// What a machine can tell: declared once, with unit, type and address.
pub struct Signal(pub SignalRow);

impl Signal {
    /// The signal of a key.
    ///
    /// # Errors
    /// `INTERNAL`.
    pub async fn load(scope: &Scope, key: SignalKey) -> Result<Option<Self>, Error> {
        Ok(scope.loader.load_one(SignalByKey(key)).await.or_fail("read a signal")?.map(Self))
    }

    fn key(&self) -> SignalKey {
        SignalKey { site: self.0.site.clone(), number: self.0.number }
    }
}

/// What a machine can tell: declared once, with unit, type and address.
#[Object]
impl Signal {
    /// Global id.
    pub async fn id(&self) -> ID {
        NodeId::Signal(self.key()).encode()
    }

    /// The plant.
    async fn site(&self) -> &str {
        &self.0.site
    }

    /// Stands for it in batches; dense per site, from 1.
    async fn number(&self) -> i32 {
        self.0.number
    }

    /// Unique in the site, such as pasteuriser.temperature.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What it tells.
    async fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    /// UCUM code.
    async fn unit(&self) -> &str {
        &self.0.unit
    }

    /// Layout in the device.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous to the macro")]
    async fn data_type(&self) -> Result<SignalDataType, Error> {
        let known = DomainDataType::ALL.into_iter().find(|known| known.as_str() == self.0.data_type);
        known.map(SignalDataType::from).ok_or("unknown data type").or_fail("read a signal")
    }

    /// The machine.
    async fn device(&self) -> &str {
        &self.0.device
    }

    /// Where the machine keeps it.
    async fn address(&self) -> SignalAddress {
        let Address::Modbus { unit, table, address, word_order } = self.0.address.0;
        let (table, word_order) = (table.into(), word_order.into());
        SignalAddress::Modbus(ModbusAddress { unit, table, address, word_order })
    }

    /// value = raw × scale + offset.
    async fn scale(&self) -> Decimal {
        self.0.scale
    }

    /// See scale.
    async fn offset(&self) -> Decimal {
        self.0.value_offset
    }

    /// The newest value; null before the first.
    async fn latest(&self, ctx: &Context<'_>) -> Result<Option<SignalValue>, Error> {
        let row = Scope::of(ctx).loader.load_one(LatestOf(self.key())).await.or_fail("read latest values")?;
        Ok(row.map(SignalValue::from))
    }

    /// Who declared it.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When it was declared.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }

    /// What `expectedVersion` is compared with.
    async fn version(&self) -> Version {
        self.0.version.into()
    }
}

/// A stretch of time.
#[derive(InputObject, Debug, Clone, Copy)]
pub struct TimeRangeInput {
    /// First instant.
    pub from: DateTime<Utc>,
    /// First instant after it.
    pub until: DateTime<Utc>,
}

/// Signals.
#[derive(Default)]
pub struct SignalQuery;

#[Object]
impl SignalQuery {
    /// Signals by site and number; without a site, those of every site where the caller may look them up.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the GraphQL field")]
    async fn signals(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of one plant only.")] site: Option<String>,
        #[graphql(desc = "Of one machine only.")] device: Option<String>,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Cursor of the last signal of the page before.")] after: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Connection<Cursor, Signal>, Error> {
        let scope = Scope::of(ctx);
        let size = connection::size(first)?;
        let after = connection::after(after.as_deref(), read_key)?;
        scope.check_site(site.as_deref()).await?;
        scope.wait(ctx, &[Model::Signals], consistent_with, consistency_timeout_ms).await?;
        let Narrowed { site, sites } = scope.sight()?.narrow(Permission::LookUp, site)?;
        let (filter, has_previous) = (SignalFilter { site, sites, device }, after.is_some());
        let page = Page { first: size + 1, after };
        let rows = signals::list(scope.pool(), scope.tenant(), &filter, &page).await.or_fail("list signals")?;
        let cursor = |row: &SignalRow| Cursor::new(&write_key(&row.site, row.number));
        Ok(connection::connection(rows, size, has_previous, cursor, Signal))
    }

    /// The newest values of the given signals, without those that have none.
    #[graphql(complexity = "cost::page(i32::try_from(ids.len()).unwrap_or(i32::MAX), child_complexity)")]
    async fn signal_latest(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global ids of signals, at most 1,000.")] ids: Vec<ID>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Vec<SignalValue>, Error> {
        let scope = Scope::of(ctx);
        let keys: Vec<SignalKey> = keys(&ids)?.into_iter().collect();
        scope.wait(ctx, &[Model::Samples], consistent_with, consistency_timeout_ms).await?;
        let rows = samples::latest(scope.pool(), scope.tenant(), &keys).await.or_fail("read latest values")?;
        Ok(rows.into_iter().map(SignalValue::from).collect())
    }

    /// Values of one signal within a range, the oldest first. To page, ask again with `from` just after the last time that came.
    #[graphql(complexity = "cost::page(i32::try_from(first / 100).unwrap_or(i32::MAX), child_complexity)")]
    async fn signal_history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id of the signal.")] id: ID,
        range: TimeRangeInput,
        #[graphql(desc = "1 to 10,000.")] first: u32,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Vec<SignalValue>, Error> {
        let scope = Scope::of(ctx);
        let key = global_id::signal("id", &id)?;
        if !(1..=MAX_HISTORY).contains(&first) {
            return Err(bad_input(format!("'first' must be 1 to {MAX_HISTORY}, not {first}")));
        }
        if range.from >= range.until {
            return Err(bad_input("'range.from' must be before 'range.until'"));
        }
        scope.wait(ctx, &[Model::Samples], consistent_with, consistency_timeout_ms).await?;
        let range = TimeRange { from: range.from, until: range.until };
        let rows = samples::history(scope.pool(), scope.tenant(), &key, range, first).await.or_fail("read history")?;
        Ok(rows.into_iter().map(SignalValue::from).collect())
    }
}

/// The text of a signal's key, in cursors and global ids: what [`read_key`] reads.
pub fn write_key(site: &str, number: i32) -> String {
    format!("{site}:{number}")
}

/// Reads a key; nothing when no signal can have it.
pub fn read_key(text: &str) -> Option<SignalKey> {
    let (site, number) = text.split_once(':')?;
    let site = SiteId::new(site).ok()?;
    Some(SignalKey { site: site.into(), number: number.parse().ok()? })
}

fn keys(ids: &[ID]) -> Result<HashSet<SignalKey>, Error> {
    if ids.is_empty() || ids.len() > MAX_SIGNALS {
        return Err(bad_input(format!("'ids' must have 1 to {MAX_SIGNALS} entries, not {}", ids.len())));
    }
    ids.iter().map(|id| global_id::signal("ids", id)).collect()
}

/// Values of one batch.
#[derive(SimpleObject)]
pub struct SignalValues {
    /// At least one, in no order.
    pub values: Vec<SignalValue>,
    /// From where to go on after this item.
    pub position: PositionToken,
}

/// Values as they come.
#[derive(Default)]
pub struct SignalSubscription;

#[Subscription]
impl SignalSubscription {
    /// Values of the given signals, batch by batch, after each commit.
    async fn signal_values(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global ids of signals, at most 1,000.")] ids: Vec<ID>,
        #[graphql(desc = "Go on from here; from now when absent. Partitions that the token does not name begin now.")]
        after: Option<PositionToken>,
    ) -> Result<impl Stream<Item = Result<SignalValues, Error>> + use<>, Error> {
        let wanted = keys(&ids)?;
        let feed = Feed::<SampleRow> {
            model: Model::Samples,
            fetch: |state, partition, from, rows| {
                Box::pin(samples::samples_since(&state.pool, &state.tenant, partition, from, rows))
            },
            offset: |row| row.log_offset,
        };
        let changes = live::follow(ctx, feed, None, after).await?;
        Ok(changes.filter_map(move |change| {
            let item = change.map(|Change { rows, position, .. }| {
                let values = rows.into_iter().map(SignalValue::from).filter(|value| wanted.contains(&value.key));
                let values: Vec<SignalValue> = values.collect();
                (!values.is_empty()).then_some(SignalValues { values, position: PositionToken(position) })
            });
            std::future::ready(item.transpose())
        }))
    }
}
