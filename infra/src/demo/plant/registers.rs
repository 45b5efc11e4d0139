//! The pasteuriser's Modbus map: what stands where, said once for the server and once, by hand, as declarations.
//!
//! | table | address | what | layout |
//! |---|---|---|---|
//! | input registers | 0 | temperature, °C | f32, ABCD |
//! | input registers | 2 | flow, L/h | f32, CDAB |
//! | input registers | 4 | pressure, mbar | u16 |
//! | input registers | 5 | outlet temperature, 0.1 °C | i16 |
//! | input registers | 6 | total, L | u32, CDAB |
//! | discrete inputs | 0 | divert valve | bit |
//! | discrete inputs | 1 | pump | bit |

use lotline_domain::command::DeclareSignal;
use lotline_domain::signal::{Address, DataType, ModbusTable, WordOrder};

use super::physics::Sensors;

/// The device id under which its signals are declared.
pub const DEVICE: &str = "pasteuriser";
/// Its unit id.
pub const UNIT: u8 = 1;

/// What a client can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Input registers from 0.
    pub registers: [u16; 8],
    /// Discrete inputs from 0.
    pub bits: [bool; 2],
}

impl Image {
    /// The map filled in.
    pub fn of(sensors: &Sensors) -> Self {
        let [t0, t1] = high_low((sensors.temperature_c as f32).to_bits());
        let [f0, f1] = high_low((sensors.flow_l_per_h as f32).to_bits());
        let [l0, l1] = high_low(sensors.total_l as u32);
        let pressure = (sensors.pressure_bar * 1_000.0).round() as u16;
        let outlet = (sensors.outlet_c * 10.0).round() as i16 as u16;
        Self { registers: [t0, t1, f1, f0, pressure, outlet, l1, l0], bits: [sensors.is_diverting, sensors.is_pumping] }
    }

    /// This image, but with the temperature as it was in another.
    #[must_use]
    pub fn with_temperature_of(mut self, earlier: &Self) -> Self {
        self.registers[..2].copy_from_slice(&earlier.registers[..2]);
        self
    }
}

/// Declarations of everything on the map.
pub fn signals() -> Vec<DeclareSignal> {
    use ModbusTable::{DiscreteInputs, InputRegisters};
    use WordOrder::{Abcd, Cdab};
    let rows = [
        ("temperature", "End of the holding tube", "Cel", DataType::F32, InputRegisters, 0, Abcd, None),
        ("flow", "Through the holding tube", "L/h", DataType::F32, InputRegisters, 2, Cdab, None),
        ("pressure", "Before the holding tube", "bar", DataType::U16, InputRegisters, 4, Abcd, Some("0.001")),
        ("outlet-temperature", "Behind the cooler", "Cel", DataType::I16, InputRegisters, 5, Abcd, Some("0.1")),
        ("total", "Pasteurised since start", "L", DataType::U32, InputRegisters, 6, Cdab, None),
        ("divert-valve", "Milk goes back instead of on", "1", DataType::Bool, DiscreteInputs, 0, Abcd, None),
        ("pump", "Runs", "1", DataType::Bool, DiscreteInputs, 1, Abcd, None),
    ];
    let declare = |(name, description, unit, data_type, table, address, word_order, scale)| {
        let scale: Option<&str> = scale;
        DeclareSignal {
            name: format!("{DEVICE}.{name}"),
            description: Some(str::to_owned(description)),
            unit: str::to_owned(unit),
            data_type,
            device: DEVICE.into(),
            address: Address::Modbus { unit: UNIT, table, address, word_order },
            scale: scale.map(str::to_owned),
            offset: None,
        }
    };
    rows.into_iter().map(declare).collect()
}

fn high_low(bits: u32) -> [u16; 2] {
    [(bits >> 16) as u16, bits as u16]
}
