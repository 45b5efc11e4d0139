//! Signals: what a machine can tell, declared once with number, unit, type and address.
//!
//! The number is dense per site, from 1, and stands for the signal in batches.

use std::collections::HashMap;

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command::{DeclareSignal, decimal, optional_text, text};
use crate::id::DeviceId;
use crate::refusal::Refusal;
use crate::schema;

/// How a value is laid out in a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DataType {
    /// One bit.
    Bool,
    /// One register, signed.
    I16,
    /// One register.
    U16,
    /// Two registers, signed.
    I32,
    /// Two registers.
    U32,
    /// Four registers, signed.
    I64,
    /// Four registers.
    U64,
    /// Two registers, IEEE 754.
    F32,
    /// Four registers, IEEE 754.
    F64,
}

impl DataType {
    /// Every type.
    pub const ALL: [Self; 9] =
        [Self::Bool, Self::I16, Self::U16, Self::I32, Self::U32, Self::I64, Self::U64, Self::F32, Self::F64];

    /// The name used in events and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I16 => "i16",
            Self::U16 => "u16",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::I64 => "i64",
            Self::U64 => "u64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// 16-bit registers that a value takes up; a bit in a register table takes one.
    pub fn registers(self) -> u16 {
        match self {
            Self::Bool | Self::I16 | Self::U16 => 1,
            Self::I32 | Self::U32 | Self::F32 => 2,
            Self::I64 | Self::U64 | Self::F64 => 4,
        }
    }
}

/// The four address spaces of Modbus (Application Protocol V1.1b3 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum WordOrder {
    /// Big-endian, as the Modbus specification has it.
    #[default]
    Abcd,
    /// Words swapped.
    Cdab,
    /// Bytes swapped within words.
    Badc,
    /// Little-endian.
    Dcba,
}

/// Where a device keeps a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "protocol")]
#[schemars(transform = schema::open_union)]
pub enum Address {
    /// Modbus TCP or RTU.
    Modbus {
        /// Unit (slave) id.
        unit: u8,
        /// Address space.
        table: ModbusTable,
        /// Zero-based address as on the wire.
        address: u16,
        /// Order of bytes.
        word_order: WordOrder,
    },
}

/// `lotline.signal.declared.v1`: a signal got its number, unit and address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignalDeclared {
    /// Unique in the site, such as `pasteuriser.temperature`.
    pub name: String,
    /// Stands for it in batches; dense per site, from 1.
    #[schemars(range(min = 1))]
    pub number: u32,
    /// What it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// UCUM code.
    pub unit: String,
    /// Layout in the device.
    pub data_type: DataType,
    /// The machine.
    pub device: DeviceId,
    /// Where the machine keeps it.
    pub address: Address,
    /// value = raw × scale + offset.
    #[schemars(schema_with = "schema::decimal")]
    pub scale: Decimal,
    /// See `scale`.
    #[schemars(schema_with = "schema::decimal")]
    pub offset: Decimal,
}

/// All signals of a site.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Signals {
    /// Number and sequence of the declaration, by name.
    by_name: HashMap<String, (u32, u64)>,
}

impl Signals {
    /// The sequence of the declaration.
    pub fn version(&self, name: &str) -> Option<u64> {
        self.by_name.get(name).map(|(_, version)| *version)
    }

    /// # Errors
    /// A bad name, unit, device or number, an address past the end of its table, or a name that is taken.
    pub fn decide_declare(&self, command: &DeclareSignal) -> Result<SignalDeclared, Refusal> {
        let name = text("name", &command.name, 128)?;
        if self.by_name.contains_key(&name) {
            return Err(Refusal::DuplicateSignal(name));
        }
        let Address::Modbus { table, address, .. } = &command.address;
        let bits = matches!(table, ModbusTable::Coils | ModbusTable::DiscreteInputs);
        if bits != (command.data_type == DataType::Bool) {
            let rule = "that fits its table: bool for coils and discrete inputs, numbers for registers";
            return Err(Refusal::InvalidNumber { field: "dataType", rule });
        }
        if u32::from(*address) + u32::from(command.data_type.registers()) > 65_536 {
            return Err(Refusal::InvalidNumber { field: "address", rule: "whose last register is at most 65535" });
        }
        Ok(SignalDeclared {
            number: self.by_name.len() as u32 + 1,
            description: optional_text("description", command.description.as_deref(), 500)?,
            unit: text("unit", &command.unit, 32)?,
            data_type: command.data_type,
            device: DeviceId::new(command.device.as_str()).map_err(|error| Refusal::invalid_id("device", &error))?,
            address: command.address.clone(),
            scale: scale(command.scale.as_deref())?,
            offset: offset(command.offset.as_deref())?,
            name,
        })
    }

    /// Applies a declaration.
    pub fn evolve_declared(&mut self, event: &SignalDeclared, sequence: u64) {
        self.by_name.insert(event.name.clone(), (event.number, sequence));
    }
}

/// At most 15 digits, which a double holds exactly.
fn number(given: &str) -> Option<Decimal> {
    decimal(given).filter(|value| value.mantissa().unsigned_abs() < 1_000_000_000_000_000)
}

fn scale(given: Option<&str>) -> Result<Decimal, Refusal> {
    let rule = "other than 0 with at most 15 digits, such as 0.01";
    let value = given.map_or(Some(Decimal::ONE), number).filter(|value| !value.is_zero());
    value.ok_or(Refusal::InvalidNumber { field: "scale", rule })
}

fn offset(given: Option<&str>) -> Result<Decimal, Refusal> {
    let rule = "with at most 15 digits, such as 0.01";
    given.map_or(Some(Decimal::ZERO), number).ok_or(Refusal::InvalidNumber { field: "offset", rule })
}

#[cfg(test)]
mod tests;
