//! Golden fixtures: what a released event type looks like in the log, byte for byte, for as long as there are logs.
//!
//! Two per type in `golden/`: `<type>.minimal.json` without any optional field, `<type>.full.json` with all of them. A fixture is never
//! changed after its release; a new optional field gets a fixture of its own. To add an event type: its two events in [`examples`],
//! and the two files with the bytes that the failing test prints.

#[path = "examples/access.rs"]
mod access;
#[path = "examples/alert.rs"]
mod alert;
#[path = "examples/hold.rs"]
mod hold;
#[path = "examples/lots.rs"]
mod lots;
#[path = "examples/master.rs"]
mod master;
#[path = "examples/run.rs"]
mod run;
#[path = "examples/scenario.rs"]
mod scenario;
#[path = "examples/trail.rs"]
mod trail;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chrono::NaiveDate;
use lotline_domain::event::{EVENT_TYPES, Event};
use lotline_domain::id::{ActorId, DeviceId, LotId, PipelineId, QcDecisionId};
use lotline_domain::lot::{LotInput, LotRegistered, LotType};
use lotline_domain::personal::Personal;
use lotline_domain::pipeline::{
    Definition, Edge, PipelineArchived, PipelineDrafted, PipelinePublished, PipelineRevised, Task,
};
use lotline_domain::projection::{ProjectionEventSkipped, ProjectionRetried};
use lotline_domain::qc::{ChecklistAnswer, Measurement, QcDecisionRecorded, QcOutcome};
use lotline_domain::quantity::Quantity;
use lotline_domain::refusal::{CommandRefused, RefusalsSuppressed};
use lotline_domain::signal::{Address, DataType, ModbusTable, SignalDeclared, WordOrder};
use lotline_domain::timestamp::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

const REASON: &str = "Found in the yard: \"ü\" \\ / \u{1F95B}";

fn id(last: u128) -> Uuid {
    Uuid::from_u128(0x018f_2a6e_7c00_7000_8000_0000_0000_0000 + last)
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("a valid time")
}

fn quantity(value: &str, unit: &str) -> Quantity {
    Quantity::parse(value, unit).expect("a valid quantity")
}

/// The minimal and the full event of every type.
fn examples() -> Vec<[Event; 2]> {
    vec![
        lot_registered(),
        qc_decision_recorded(),
        pipeline_drafted(),
        pipeline_revised(),
        pipeline_published(),
        pipeline_archived(),
        signal_declared(),
        projection_retried(),
        projection_event_skipped(),
        command_refused(),
        refusals_suppressed(),
    ]
    .into_iter()
    .chain(master::examples())
    .chain(lots::examples())
    .chain(access::examples())
    .chain(trail::examples())
    .chain(scenario::examples())
    .chain(run::examples())
    .chain(alert::examples())
    .chain(hold::examples())
    .collect()
}

fn lot_registered() -> [Event; 2] {
    let minimal = LotRegistered {
        lot_id: LotId(id(1)),
        code: "M-1".into(),
        lot_type: LotType::Raw,
        product: "milk".into(),
        quantity: quantity("1000", "LTR"),
        temperature_c: None,
        supplier_lot: None,
        expires_on: None,
        location: None,
        attributes: BTreeMap::new(),
        parents: Vec::new(),
    };
    let full = LotRegistered {
        lot_id: LotId(id(2)),
        code: "Y-1 ü".into(),
        lot_type: LotType::ByProduct,
        product: "04012345678901".into(),
        quantity: quantity("999999999999.999999", "TNE"),
        temperature_c: Some(Decimal::new(-45, 1)),
        supplier_lot: Some("S/9".into()),
        expires_on: NaiveDate::from_ymd_opt(2026, 12, 24),
        location: Some("cold store 2".into()),
        attributes: BTreeMap::from([("b".into(), "2".into()), ("a".into(), "1 \"x\"".into())]),
        parents: vec![
            LotInput { lot_id: LotId(id(1)), quantity: quantity("0.000001", "LBR") },
            LotInput { lot_id: LotId(id(3)), quantity: quantity("12.5", "KGM") },
        ],
    };
    [Event::LotRegistered(minimal), Event::LotRegistered(full)]
}

fn qc_decision_recorded() -> [Event; 2] {
    let minimal = QcDecisionRecorded {
        decision_id: QcDecisionId(id(1)),
        lot_id: LotId(id(2)),
        gate: "intake".into(),
        outcome: QcOutcome::Pass,
        measurements: Vec::new(),
        checklist: Vec::new(),
        notes: None,
    };
    let full = QcDecisionRecorded {
        outcome: QcOutcome::Hold,
        measurements: vec![
            Measurement { name: "pH".into(), value: Decimal::new(67, 1), unit: "1".into() },
            Measurement { name: "temperature".into(), value: Decimal::new(-4, 0), unit: "Cel".into() },
        ],
        checklist: vec![ChecklistAnswer { item: "Sealed?".into(), answer: "yes".into() }],
        notes: Some(Personal {
            key_id: id(9),
            nonce: "000102030405060708090a0b".into(),
            ciphertext: "00112233445566778899aabbccddeeff00".into(),
        }),
        ..minimal.clone()
    };
    [Event::QcDecisionRecorded(minimal), Event::QcDecisionRecorded(full)]
}

fn small_definition() -> Definition {
    Definition {
        tasks: vec![Task { id: "read".into(), kind: "extract.csv".into(), config: Value::Null }],
        edges: vec![],
    }
}

fn large_definition() -> Definition {
    let config = json!({
        "path": "/in/*.csv", "limit": 18_446_744_073_709_551_615_u64, "low": -9_223_372_036_854_775_808_i64,
        "ratio": 0.1, "tiny": 5e-324, "on": true, "none": null, "nested": [{ "a": [] }],
    });
    Definition {
        tasks: vec![
            Task { id: "read".into(), kind: "extract.csv".into(), config },
            Task { id: "load".into(), kind: "load.lots".into(), config: json!({}) },
        ],
        edges: vec![Edge { from: "read".into(), to: "load".into() }],
    }
}

fn pipeline_drafted() -> [Event; 2] {
    [("nightly", small_definition()), ("Nächtlich", large_definition())].map(|(name, definition)| {
        Event::PipelineDrafted(PipelineDrafted { pipeline_id: PipelineId(id(1)), name: name.into(), definition })
    })
}

fn pipeline_revised() -> [Event; 2] {
    [("nightly", small_definition()), ("Nächtlich", large_definition())].map(|(name, definition)| {
        Event::PipelineRevised(PipelineRevised { pipeline_id: PipelineId(id(1)), name: name.into(), definition })
    })
}

fn pipeline_published() -> [Event; 2] {
    [(1, small_definition()), (u32::MAX, large_definition())].map(|(version, definition)| {
        let definition_hash = definition.hash();
        Event::PipelinePublished(PipelinePublished { pipeline_id: PipelineId(id(1)), version, definition_hash })
    })
}

fn pipeline_archived() -> [Event; 2] {
    [1, 2].map(|last| Event::PipelineArchived(PipelineArchived { pipeline_id: PipelineId(id(last)) }))
}

fn signal_declared() -> [Event; 2] {
    let minimal = SignalDeclared {
        name: "door".into(),
        number: 1,
        description: None,
        unit: "1".into(),
        data_type: DataType::Bool,
        device: DeviceId::new("press").expect("a valid id"),
        address: Address::Modbus { unit: 0, table: ModbusTable::Coils, address: 0, word_order: WordOrder::Abcd },
        scale: Decimal::ONE,
        offset: Decimal::ZERO,
    };
    let full = SignalDeclared {
        name: "tank.temp".into(),
        number: u32::MAX,
        description: Some("after the holding tube".into()),
        unit: "Cel".into(),
        data_type: DataType::F64,
        device: DeviceId::new("pasteuriser-1").expect("a valid id"),
        address: Address::Modbus {
            unit: 255,
            table: ModbusTable::InputRegisters,
            address: 65_532,
            word_order: WordOrder::Cdab,
        },
        scale: Decimal::new(1, 1),
        offset: Decimal::new(-27_315, 2),
    };
    [Event::SignalDeclared(minimal), Event::SignalDeclared(full)]
}

fn projection_retried() -> [Event; 2] {
    [("lots", "north"), ("qc_decisions", "_tenant")].map(|(model, stream)| {
        Event::ProjectionRetried(ProjectionRetried { model: model.into(), stream: stream.into() })
    })
}

fn projection_event_skipped() -> [Event; 2] {
    [("lots", "north", 1), ("qc_decisions", "_tenant", u64::MAX)].map(|(model, stream, sequence)| {
        let (model, stream) = (model.into(), stream.into());
        Event::ProjectionEventSkipped(ProjectionEventSkipped { model, stream, sequence })
    })
}

fn command_refused() -> [Event; 2] {
    let minimal = CommandRefused {
        command: "record_qc_decision".into(),
        code: "LOT_FAILED".into(),
        message: "lot 'M-1' has failed; a failed lot takes no further decision".into(),
        field: None,
    };
    let full = CommandRefused {
        command: "register_lot".into(),
        code: "UNKNOWN_LOT".into(),
        message: "lot 'M-2' does not exist".into(),
        field: Some("parents".into()),
    };
    [Event::CommandRefused(minimal), Event::CommandRefused(full)]
}

fn refusals_suppressed() -> [Event; 2] {
    [1, u64::MAX].map(|count| {
        Event::RefusalsSuppressed(RefusalsSuppressed {
            actor: ActorId::new("robot").expect("a valid id"),
            count,
            from: time("2026-11-21T03:15:00Z"),
            until: time("2026-11-21T03:16:00.000001Z"),
        })
    })
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Each event with the file, time and reason that belong to it.
fn fixtures() -> Vec<(String, Event, Timestamp, Option<&'static str>)> {
    let mut fixtures = Vec::new();
    for [minimal, full] in examples() {
        assert_eq!(minimal.event_type(), full.event_type());
        let file = |variant: &str| format!("{}.{variant}.json", minimal.event_type());
        let (small, large) = (file("minimal"), file("full"));
        fixtures.push((small, minimal, time("2026-11-21T03:15:00Z"), None));
        fixtures.push((large, full, time("2026-11-21T03:15:00.123456Z"), Some(REASON)));
    }
    fixtures
}

#[test]
fn every_event_type_has_both_fixtures_and_every_fixture_a_type() {
    let expected: BTreeSet<String> =
        EVENT_TYPES.iter().flat_map(|name| [format!("{name}.minimal.json"), format!("{name}.full.json")]).collect();
    let files: BTreeSet<String> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, expected);
    let tested: BTreeSet<String> = fixtures().into_iter().map(|(file, ..)| file).collect();
    assert_eq!(tested, expected);
}

#[test]
fn released_bytes_decode_to_the_same_event_and_encode_to_the_same_bytes() {
    let mut wrong = Vec::new();
    for (file, event, occurred_at, reason) in fixtures() {
        let encoded = event.encode(occurred_at, reason);
        // An editor may end the file with a line feed; the record has none.
        let stored = std::fs::read(folder().join(&file)).unwrap_or_default();
        let golden = stored.strip_suffix(b"\n").unwrap_or(&stored);
        if golden != encoded {
            wrong.push(format!("{file}: this version writes\n{}", String::from_utf8_lossy(&encoded)));
            continue;
        }
        let fact = Event::decode(event.event_type(), golden).unwrap();
        assert_eq!((fact.event, fact.occurred_at, fact.reason.as_deref()), (event, occurred_at, reason), "{file}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_minimal_fixture_has_no_optional_field_and_a_full_one_more() {
    for [minimal, full] in examples() {
        let fields = |event: &Event| -> BTreeSet<String> {
            let value: Value = serde_json::from_slice(&event.encode(Timestamp::default(), None)).unwrap();
            value["data"].as_object().unwrap().keys().cloned().collect()
        };
        assert!(fields(&full).is_superset(&fields(&minimal)), "{}", full.event_type());
        let bytes = minimal.encode(Timestamp::default(), None);
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        for field in value["data"].as_object().unwrap().keys() {
            let mut without = value.clone();
            without["data"].as_object_mut().unwrap().remove(field);
            let bytes = serde_json::to_vec(&without).unwrap();
            assert!(Event::decode(minimal.event_type(), &bytes).is_err(), "{}.{field}", minimal.event_type());
        }
    }
}

#[test]
fn fields_of_a_later_version_are_passed_over() {
    for (file, event, occurred_at, reason) in fixtures() {
        let mut value: Value = serde_json::from_slice(&event.encode(occurred_at, reason)).unwrap();
        value["data"]["added_in_a_later_version"] = json!({ "x": [1] });
        let fact = Event::decode(event.event_type(), &serde_json::to_vec(&value).unwrap()).unwrap();
        assert_eq!(fact.event, event, "{file}");
    }
}

#[test]
fn unknown_types_and_broken_values_are_no_events() {
    assert!(Event::decode("lotline.lot.registered.v2", b"{}").is_err());
    assert!(Event::decode("", b"{}").is_err());
    for name in EVENT_TYPES {
        for value in
            [&b""[..], b"{}", b"null", b"[]", b"\xff", b"{\"occurred_at\":\"2026-11-21T03:15:00Z\",\"data\":{}}"]
        {
            assert!(Event::decode(name, value).is_err(), "{name}");
        }
    }
}

#[test]
fn a_published_hash_is_that_of_the_definitions_bytes_in_the_log() {
    for variant in ["minimal", "full"] {
        let read = |kind: &str| {
            let file = format!("lotline.pipeline.{kind}.v1.{variant}.json");
            std::fs::read_to_string(folder().join(file)).unwrap()
        };
        let (drafted, published) = (read("drafted"), read("published"));
        let (_, definition) = drafted.split_once("\"definition\":").unwrap();
        let definition = definition.trim_end().strip_suffix("}}").unwrap();
        let hash = hex::encode(Sha256::digest(definition));
        assert!(published.contains(&hash), "{variant}: {hash}");
    }
}
