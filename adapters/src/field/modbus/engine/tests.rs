//! The engine against a device made of a set of addresses that exist, without sockets or time.

use std::collections::{BTreeMap, BTreeSet};

use lotline_domain::id::DeviceId;
use lotline_domain::signal::{ModbusTable, WordOrder};
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;

const NOW: fn() -> Timestamp = || Timestamp::from_millis(1_000);

fn signal(number: u32, unit: u8, table: ModbusTable, data_type: DataType, address: u16) -> SignalDeclared {
    SignalDeclared {
        name: format!("signal-{number}"),
        number,
        description: None,
        unit: "1".into(),
        data_type,
        device: DeviceId::new("press").unwrap(),
        address: Address::Modbus { unit, table, address, word_order: WordOrder::Abcd },
        scale: Decimal::ONE,
        offset: Decimal::ZERO,
    }
}

fn words(numbers: &[(u32, u16)]) -> Vec<SignalDeclared> {
    let make =
        |(number, address): &(u32, u16)| signal(*number, 1, ModbusTable::HoldingRegisters, DataType::U16, *address);
    numbers.iter().map(make).collect()
}

/// Answers with each register's own address; refuses what touches a hole or is longer than `max`.
fn device(holes: &BTreeSet<u16>, max: u16) -> impl Fn(Request) -> Answer + '_ {
    move |request| {
        let addresses = request.start..=request.start + (request.count - 1);
        if request.count > max || addresses.clone().any(|address| holes.contains(&address)) {
            Answer::Exception(Exception::IllegalAddress)
        } else {
            Answer::Registers(addresses.collect())
        }
    }
}

/// One poll: quality and value by signal, and how many requests it took.
fn poll(engine: &mut Engine, device: impl Fn(Request) -> Answer) -> (BTreeMap<u32, (f64, Quality)>, usize) {
    let mut poll = engine.poll(NOW());
    let mut requests = 0;
    while let Some(request) = poll.request() {
        requests += 1;
        poll.answer(&device(request), NOW()).unwrap();
    }
    let readings = poll.finish(NOW());
    let by_signal: BTreeMap<_, _> =
        readings.iter().map(|reading| (reading.signal, (reading.value, reading.quality))).collect();
    assert_eq!(by_signal.len(), readings.len(), "one reading per signal");
    (by_signal, requests)
}

#[test]
fn a_bad_address_does_not_hurt_its_neighbours_and_is_remembered() {
    let numbers: Vec<(u32, u16)> = (0..64).map(|at| (u32::from(at) + 1, at)).collect();
    let mut engine = Engine::new(&words(&numbers), Limits::default());
    let holes = BTreeSet::from([40]);
    let (first, asked) = poll(&mut engine, device(&holes, 125));
    assert_eq!(first[&41], (0.0, Quality::BAD_CONFIGURATION));
    assert!(
        first
            .iter()
            .filter(|(signal, _)| **signal != 41)
            .all(|(signal, read)| *read == (f64::from(signal - 1), Quality::GOOD))
    );
    assert!(asked <= 13, "two requests per halving of 64: {asked}");
    let (second, asked) = poll(&mut engine, device(&holes, 125));
    assert_eq!((second, asked), (first, 2), "one request on each side of the hole");
    engine.forget();
    let (healed, asked) = poll(&mut engine, device(&BTreeSet::new(), 125));
    assert_eq!((healed[&41], asked), ((40.0, Quality::GOOD), 1));
}

#[test]
fn a_hole_between_signals_becomes_a_fence() {
    let mut engine = Engine::new(&words(&[(1, 0), (2, 1), (3, 10), (4, 11)]), Limits::default());
    let holes = BTreeSet::from([5]);
    let (read, asked) = poll(&mut engine, device(&holes, 125));
    assert!(read.values().all(|(_, quality)| quality.is_good()));
    assert_eq!(asked, 3);
    assert_eq!(poll(&mut engine, device(&holes, 125)).1, 2);
}

#[test]
fn other_exceptions_leave_the_plan_alone() {
    let mut engine = Engine::new(&words(&[(1, 0), (2, 1)]), Limits::default());
    for (exception, quality) in [
        (Exception::DeviceFailure, Quality::BAD_DEVICE_FAILURE),
        (Exception::GatewayNoDevice, Quality::BAD_NO_COMMUNICATION),
        (Exception::IllegalFunction, Quality::BAD_CONFIGURATION),
    ] {
        let (read, asked) = poll(&mut engine, |_| Answer::Exception(exception));
        assert!(read.values().all(|(_, found)| *found == quality));
        assert_eq!((asked, engine.has_learned()), (1, false));
    }
}

#[test]
fn an_answer_of_another_length_or_kind_is_refused() {
    let mut engine = Engine::new(&words(&[(1, 0), (2, 1)]), Limits::default());
    let mut poll = engine.poll(NOW());
    assert_eq!(poll.answer(&Answer::Registers(vec![1]), NOW()), Err(WrongAnswer { asked: 2, got: 1 }));
    assert_eq!(poll.answer(&Answer::Bits(vec![true, true]), NOW()), Err(WrongAnswer { asked: 2, got: 0 }));
    let readings = poll.finish(NOW());
    assert!(readings.len() == 2 && readings.iter().all(|reading| reading.quality == Quality::BAD_NO_COMMUNICATION));
}

#[test]
fn a_lost_unit_leaves_the_others() {
    let signals = [
        signal(1, 1, ModbusTable::Coils, DataType::Bool, 0),
        signal(2, 2, ModbusTable::Coils, DataType::Bool, 0),
        signal(3, 1, ModbusTable::InputRegisters, DataType::U16, 0),
    ];
    let mut engine = Engine::new(&signals, Limits::default());
    let mut poll = engine.poll(NOW());
    poll.lose_unit(1, NOW());
    assert_eq!(poll.request().unwrap().unit, 2);
    poll.answer(&Answer::Bits(vec![true]), NOW()).unwrap();
    assert_eq!(poll.request(), None);
    let good: Vec<u32> =
        poll.finish(NOW()).iter().filter(|read| read.quality.is_good()).map(|read| read.signal).collect();
    assert_eq!(good, [2]);
}

#[test]
fn a_number_in_a_table_of_bits_is_a_configuration_error() {
    let mut engine = Engine::new(&[signal(1, 1, ModbusTable::Coils, DataType::U16, 0)], Limits::default());
    assert_eq!(poll(&mut engine, |_| Answer::Bits(vec![])).0[&1].1, Quality::BAD_CONFIGURATION);
}

proptest! {
    /// Whatever holes a device has and however short it likes its requests: all that exists is read, all else is bad,
    /// and after a bounded number of polls the plan costs no refusal any more.
    #[test]
    fn learning_ends_and_loses_nothing(
        addresses in prop::collection::btree_set(0..200_u16, 1..80),
        holes in prop::collection::btree_set(0..200_u16, 0..20),
        max in 1..125_u16,
    ) {
        let numbers: Vec<(u32, u16)> = addresses.iter().map(|at| (u32::from(*at) + 1, *at)).collect();
        let mut engine = Engine::new(&words(&numbers), Limits::default());
        for round in 0.. {
            let (read, asked) = poll(&mut engine, device(&holes, max));
            prop_assert_eq!(read.len(), addresses.len());
            for (signal, (value, quality)) in read {
                let address = (signal - 1) as u16;
                let expected = if holes.contains(&address) { (0.0, Quality::BAD_CONFIGURATION) } else { (f64::from(address), Quality::GOOD) };
                prop_assert_eq!((value, quality), expected);
            }
            if asked == engine.requests().count() {
                break;
            }
            prop_assert!(round < 200, "still learning");
        }
    }
}
