//! Given/when/then: what a signal must say to be declared, and which number it gets.

use super::*;
use crate::command::Command;
use crate::event::Event;
use crate::given::{Given, Then, site};

fn modbus(table: ModbusTable, address: u16) -> Address {
    Address::Modbus { unit: 1, table, address, word_order: WordOrder::Abcd }
}

fn temperature() -> DeclareSignal {
    DeclareSignal {
        name: "tank.temp".into(),
        description: None,
        unit: "Cel".into(),
        data_type: DataType::F32,
        device: "pasteuriser".into(),
        address: modbus(ModbusTable::HoldingRegisters, 10),
        scale: None,
        offset: None,
    }
}

fn declaring(given: &Given, command: DeclareSignal) -> Then {
    given.when(Command::DeclareSignal(command))
}

fn declared(number: u32, command: &DeclareSignal) -> SignalDeclared {
    SignalDeclared {
        number,
        name: command.name.clone(),
        description: command.description.clone(),
        unit: command.unit.clone(),
        data_type: command.data_type,
        device: DeviceId::new(command.device.as_str()).unwrap(),
        address: command.address.clone(),
        scale: Decimal::ONE,
        offset: Decimal::ZERO,
    }
}

#[test]
fn a_signal_is_declared_with_all_that_was_given() {
    let command = DeclareSignal {
        name: " tank.temp ".into(),
        description: Some(" after the holding tube ".into()),
        scale: Some("0.10".into()),
        offset: Some("-273.150".into()),
        ..temperature()
    };
    let expected = SignalDeclared {
        description: Some("after the holding tube".into()),
        scale: Decimal::new(1, 1),
        offset: Decimal::new(-27_315, 2),
        ..declared(1, &temperature())
    };
    declaring(&site(&[]), command).event(&Event::SignalDeclared(expected));
}

#[test]
fn numbers_are_dense_and_refusals_use_none_up() {
    let mut given = site(&[]);
    for number in 1..=5 {
        let command = DeclareSignal { name: format!("s{number}"), ..temperature() };
        declaring(&given, DeclareSignal { scale: Some("0".into()), ..command.clone() }).refusal();
        let expected = Event::SignalDeclared(declared(number, &command));
        declaring(&given, command).event(&expected);
        given.happened(&expected);
    }
}

#[test]
fn a_name_is_declared_once() {
    let given = site(&[Event::SignalDeclared(declared(1, &temperature()))]);
    for name in ["tank.temp", " tank.temp\n"] {
        let message = "signal 'tank.temp' is already declared";
        declaring(&given, DeclareSignal { name: name.into(), ..temperature() }).refused(
            "DUPLICATE_SIGNAL",
            Some("name"),
            message,
        );
    }
}

#[test]
fn bits_are_bool_and_registers_are_numbers() {
    let given = site(&[]);
    for table in
        [ModbusTable::Coils, ModbusTable::DiscreteInputs, ModbusTable::HoldingRegisters, ModbusTable::InputRegisters]
    {
        let bits = matches!(table, ModbusTable::Coils | ModbusTable::DiscreteInputs);
        for data_type in DataType::ALL {
            let then = declaring(&given, DeclareSignal { data_type, address: modbus(table, 0), ..temperature() });
            if bits == (data_type == DataType::Bool) {
                then.accepted();
            } else {
                let rule = "that fits its table: bool for coils and discrete inputs, numbers for registers";
                then.refused("INVALID_NUMBER", Some("dataType"), &format!("dataType must be a number {rule}"));
            }
        }
    }
}

#[test]
fn the_last_register_lies_in_the_table() {
    let given = site(&[]);
    let cases =
        [(DataType::U16, 65_535_u16), (DataType::I32, 65_534), (DataType::F32, 65_534), (DataType::F64, 65_532)];
    for (data_type, last) in cases {
        let at = |address| DeclareSignal {
            data_type,
            address: modbus(ModbusTable::InputRegisters, address),
            ..temperature()
        };
        declaring(&given, at(last)).accepted();
        if let Some(beyond) = last.checked_add(1) {
            let message = "address must be a number whose last register is at most 65535";
            declaring(&given, at(beyond)).refused("INVALID_NUMBER", Some("address"), message);
        }
    }
    let coil =
        DeclareSignal { data_type: DataType::Bool, address: modbus(ModbusTable::Coils, 65_535), ..temperature() };
    declaring(&given, coil).accepted();
}

#[test]
fn the_device_has_a_valid_id() {
    for device in ["", "Pasteuriser", "a b", "-a", &"x".repeat(64)] {
        let message = format!(
            "device: '{device}' is not a valid device id: use 1 to 63 of a-z, 0-9 and '-', beginning with a letter or digit"
        );
        declaring(&site(&[]), DeclareSignal { device: device.into(), ..temperature() }).refused(
            "INVALID_ID",
            Some("device"),
            &message,
        );
    }
}

#[test]
fn scale_and_offset_are_numbers_and_the_scale_is_not_zero() {
    let given = site(&[]);
    let scaled = |text: &str| DeclareSignal { scale: Some(text.into()), ..temperature() };
    let shifted = |text: &str| DeclareSignal { offset: Some(text.into()), ..temperature() };
    for text in ["0", "0.00", "-0", "NaN", "", "1e3", "1_0", "1234567890123456"] {
        let message = "scale must be a number other than 0 with at most 15 digits, such as 0.01";
        declaring(&given, scaled(text)).refused("INVALID_NUMBER", Some("scale"), message);
    }
    for text in ["NaN", "", "inf", "1_0", "1234567890123456"] {
        let message = "offset must be a number with at most 15 digits, such as 0.01";
        declaring(&given, shifted(text)).refused("INVALID_NUMBER", Some("offset"), message);
    }
    for text in ["-1", "0.000001", "123456789012345"] {
        declaring(&given, scaled(text)).accepted();
    }
    declaring(&given, shifted("0")).accepted();
}

#[test]
fn texts_have_limits() {
    let cases = [
        ("name", 128, DeclareSignal { name: " ".into(), ..temperature() }),
        ("name", 128, DeclareSignal { name: "x".repeat(129), ..temperature() }),
        ("name", 128, DeclareSignal { name: "a\tb".into(), ..temperature() }),
        ("unit", 32, DeclareSignal { unit: String::new(), ..temperature() }),
        ("description", 500, DeclareSignal { description: Some("x".repeat(501)), ..temperature() }),
    ];
    for (field, max, command) in cases {
        let message = format!("{field} must have 1 to {max} characters and no control characters");
        declaring(&site(&[]), command).refused("INVALID_TEXT", Some(field), &message);
    }
}

#[test]
fn every_type_has_its_name() {
    for data_type in DataType::ALL {
        assert_eq!(serde_json::to_value(data_type).unwrap(), data_type.as_str());
    }
}
