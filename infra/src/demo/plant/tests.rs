//! The plant read by Lotline's own engine over a real socket.

use std::collections::BTreeMap;

use lotline_adapters::field::modbus::engine::Engine;
use lotline_adapters::field::modbus::plan::Limits;
use lotline_adapters::field::modbus::tcp::Connection;
use lotline_domain::signal::Signals;
use lotline_domain::timestamp::Timestamp;

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

/// Declares the plant's signals as the domain does, and gives them an engine.
fn engine() -> (Engine, BTreeMap<u32, String>) {
    let mut state = Signals::default();
    let mut declared = Vec::new();
    for (command, sequence) in registers::signals().iter().zip(1..) {
        let event = state.decide_declare(command).unwrap();
        state.evolve_declared(&event, sequence);
        declared.push(event);
    }
    let names = declared.iter().map(|signal| (signal.number, signal.name.clone())).collect();
    (Engine::new(&declared, Limits::default()), names)
}

async fn read(address: SocketAddr) -> BTreeMap<String, f64> {
    let (mut engine, names) = engine();
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    let mut connection = loop {
        match Connection::open("127.0.0.1", address.port(), PATIENCE).await {
            Ok(connection) => break connection,
            Err(error) => assert!(tokio::time::Instant::now() < until, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let mut poll = engine.poll(Timestamp::default());
    while let Some(request) = poll.request() {
        poll.answer(&connection.read(request).await.unwrap(), Timestamp::default()).unwrap();
    }
    let readings = poll.finish(Timestamp::default());
    assert!(readings.iter().all(|reading| reading.quality.is_good()));
    readings.into_iter().map(|reading| (names[&reading.signal].clone(), reading.value)).collect()
}

#[tokio::test]
async fn what_is_declared_is_what_the_machine_shows() {
    let plant = Plant::bind(5).await.unwrap();
    let (address, stop) = (plant.address(), CancellationToken::new());
    let running = tokio::spawn(plant.run(stop.clone()));
    let seen = read(address).await;
    assert_eq!(seen.len(), 7);
    for (name, range) in [
        ("temperature", 70.0..75.0),
        ("flow", 4_800.0..5_200.0),
        ("pressure", 2.0..2.2),
        ("outlet-temperature", 3.5..4.5),
        ("total", 0.0..100.0),
        ("divert-valve", 0.0..0.5),
        ("pump", 1.0..1.5),
    ] {
        let value = seen[&format!("pasteuriser.{name}")];
        assert!(range.contains(&value), "{name} is {value}");
    }
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_switch_freezes_the_sensor_and_drops_the_link() {
    let plant = Plant::bind(5).await.unwrap();
    let (address, faults, stop) = (plant.address(), plant.faults(), CancellationToken::new());
    let running = tokio::spawn(plant.run(stop.clone()));
    faults.send_modify(|faults| faults.frozen_temperature = true);
    let frozen = read(address).await;
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let now = read(address).await;
        let same = |name: &str| now[name].to_bits() == frozen[name].to_bits();
        assert!(same("pasteuriser.temperature"));
        if !same("pasteuriser.flow") {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "the rest of the machine goes on");
    }
    let mut connection = Connection::open("127.0.0.1", address.port(), PATIENCE).await.unwrap();
    faults.send_modify(|faults| faults.dropped_link = true);
    let request = engine().0.requests().next().unwrap();
    while connection.read(request).await.is_ok() {
        assert!(tokio::time::Instant::now() < until, "the connection is cut");
    }
    faults.send_modify(|faults| *faults = Faults::default());
    read(address).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}
