//! Modbus (Application Protocol Specification V1.1b3): which tables and addresses to read, and what the registers mean.
//!
//! [`plan`] joins addresses into requests, [`decode`] turns registers into values, [`engine`] leads one device through its polls
//! and learns which addresses it refuses; [`tcp`] is the one file that does I/O.

pub mod decode;
pub mod engine;
pub mod plan;
pub mod tcp;

use lotline_domain::signal::ModbusTable;

/// One read request, functions 1 to 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// Unit (slave) id.
    pub unit: u8,
    /// Which of the four address spaces.
    pub table: ModbusTable,
    /// First address, zero-based as on the wire.
    pub start: u16,
    /// Registers or bits, at least one.
    pub count: u16,
}

/// What a device said to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Contents of registers.
    Registers(Vec<u16>),
    /// Contents of coils or discrete inputs.
    Bits(Vec<bool>),
    /// A refusal.
    Exception(Exception),
}

/// Exception codes (V1.1b3 section 7), grouped by what follows from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exception {
    /// 1: the table is not supported at all.
    IllegalFunction,
    /// 2, or 3 from devices that say so when a request is longer than they like: some smaller request may succeed.
    IllegalAddress,
    /// 10 and 11: the gateway is there, the device behind it is not.
    GatewayNoDevice,
    /// 4, 5, 6, 8 and all others: the device is there and can't serve at the moment.
    DeviceFailure,
}

impl Exception {
    /// By the code on the wire.
    pub fn from_code(code: u8) -> Self {
        match code {
            1 => Self::IllegalFunction,
            2 | 3 => Self::IllegalAddress,
            10 | 11 => Self::GatewayNoDevice,
            _ => Self::DeviceFailure,
        }
    }
}

/// Whether a table holds bits rather than registers.
pub fn holds_bits(table: ModbusTable) -> bool {
    match table {
        ModbusTable::Coils | ModbusTable::DiscreteInputs => true,
        ModbusTable::HoldingRegisters | ModbusTable::InputRegisters => false,
    }
}
