//! `declareSignal`.

use async_graphql::{Context, Error, InputObject, Object, OneofObject};
use chrono::{DateTime, Utc};
use lotline_domain::access::role::Permission;
use lotline_domain::command::{Command, DeclareSignal};
use lotline_domain::id::StreamKey;
use lotline_domain::signal::{Address, DataType, ModbusTable as DomainTable, WordOrder as DomainWordOrder};
use lotline_domain::state::Subject;
use lotline_projections::model::Model;
use lotline_projections::signals;
use uuid::Uuid;

use crate::schema::failure::OrFail;
use crate::schema::payload::{Given, Outcome, UserError, site_stream, submit};
use crate::schema::scalar::{PositionToken, Version};
use crate::schema::scope::Scope;
use crate::schema::signal::{ModbusTable, Signal, SignalDataType, WordOrder};

/// A register or bit of a Modbus device.
#[derive(InputObject, Debug)]
pub struct ModbusAddressInput {
    /// Unit (slave) id, 0 to 255.
    pub unit: u8,
    /// Address space.
    pub table: ModbusTable,
    /// Zero-based address as on the wire, 0 to 65535.
    pub address: u16,
    /// Order of bytes.
    #[graphql(default_with = "WordOrder::Abcd")]
    pub word_order: WordOrder,
}

/// Where a device keeps a value.
#[derive(OneofObject, Debug)]
pub enum SignalAddressInput {
    /// Modbus TCP or RTU.
    Modbus(ModbusAddressInput),
}

/// A signal to declare.
#[derive(InputObject, Debug)]
pub struct DeclareSignalInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Refuse unless this is the version; 0 for a thing that is new.
    pub expected_version: Option<Version>,
    /// When it happened in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<String>,
    /// The plant.
    pub site: String,
    /// Unique in the site, at most 128 characters, such as pasteuriser.temperature.
    pub name: String,
    /// What it tells, at most 500 characters.
    pub description: Option<String>,
    /// UCUM code.
    pub unit: String,
    /// Layout in the device.
    pub data_type: SignalDataType,
    /// The machine: 1 to 63 of a-z, 0-9 and '-'.
    pub device: String,
    /// Where the machine keeps it.
    pub address: SignalAddressInput,
    /// value = raw × scale + offset. A decimal as text; "1" when absent.
    pub scale: Option<String>,
    /// See scale; "0" when absent.
    pub offset: Option<String>,
}

/// What became of the declaration. It keeps the stream, because a signal is known by its name within a site.
pub struct DeclareSignalPayload {
    outcome: Outcome,
    site: String,
}

/// What became of the declaration.
#[Object]
impl DeclareSignalPayload {
    /// The signal's name; null when refused.
    async fn name(&self) -> Option<&str> {
        match &self.outcome.receipt()?.subject {
            Subject::Signal(name) => Some(name),
            Subject::Lot(_)
            | Subject::QcDecision(_)
            | Subject::Pipeline(_)
            | Subject::Projection(_)
            | Subject::Access(_)
            | Subject::Trail(_)
            | Subject::Scenario(_)
            | Subject::Run(_) => None,
        }
    }

    /// The signal, as soon as the read model shows it; null when refused, or when the caller may look it up no more.
    async fn signal(&self, ctx: &Context<'_>) -> Result<Option<Signal>, Error> {
        let Some((scope, receipt)) = self.outcome.visible(ctx, &[Model::Signals]).await? else { return Ok(None) };
        match &receipt.subject {
            Subject::Signal(name) => {
                let row = signals::find_by_name(scope.pool(), scope.tenant(), &self.site, name).await;
                let (row, sight) = (row.or_fail("read a signal")?, scope.sight()?);
                Ok(row.filter(|row| sight.may_at(Permission::LookUp, &row.site)).map(Signal))
            }
            Subject::Lot(_)
            | Subject::QcDecision(_)
            | Subject::Pipeline(_)
            | Subject::Projection(_)
            | Subject::Access(_)
            | Subject::Trail(_)
            | Subject::Scenario(_)
            | Subject::Run(_) => Ok(None),
        }
    }

    /// The version of the thing from now on: what `expectedVersion` is compared with. Null when refused.
    async fn version(&self) -> Option<Version> {
        self.outcome.version()
    }

    /// Covers the decision, or its refusal. Null when nothing was recorded.
    async fn position(&self) -> Option<PositionToken> {
        self.outcome.position()
    }

    /// Whether this is the answer to an earlier try with the same idempotency key.
    async fn replayed(&self) -> bool {
        self.outcome.replayed()
    }

    /// Why it was refused; empty when it was not.
    async fn user_errors(&self) -> Vec<UserError> {
        self.outcome.user_errors()
    }
}

/// Signals.
#[derive(Default)]
pub struct SignalMutation;

#[Object]
impl SignalMutation {
    /// Declares a signal of a machine, which gets its number.
    async fn declare_signal(
        &self,
        ctx: &Context<'_>,
        input: DeclareSignalInput,
    ) -> Result<DeclareSignalPayload, Error> {
        let site = input.site.clone();
        let outcome = match site_stream(&site) {
            Ok(stream) => declare(ctx, stream, input).await?,
            Err(error) => Outcome::Refused(error, None),
        };
        Ok(DeclareSignalPayload { outcome, site })
    }
}

async fn declare(ctx: &Context<'_>, stream: StreamKey, input: DeclareSignalInput) -> Result<Outcome, Error> {
    let given = Given {
        key: input.idempotency_key,
        expected_version: input.expected_version,
        occurred_at: input.occurred_at,
        reason: input.reason,
    };
    let SignalAddressInput::Modbus(modbus) = input.address;
    let command = Command::DeclareSignal(DeclareSignal {
        name: input.name,
        description: input.description,
        unit: input.unit,
        data_type: DataType::from(input.data_type),
        device: input.device,
        address: Address::Modbus {
            unit: modbus.unit,
            table: DomainTable::from(modbus.table),
            address: modbus.address,
            word_order: DomainWordOrder::from(modbus.word_order),
        },
        scale: input.scale,
        offset: input.offset,
    });
    submit(Scope::of(ctx), stream, given, command).await
}
