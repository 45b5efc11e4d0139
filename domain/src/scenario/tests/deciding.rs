//! How drafts become versions, and which definitions are scenarios.

use super::*;
use crate::given::{command_id, site, tenant};
use crate::scenario::validate::{MAX_BYTES, MAX_ENTRIES, MAX_GATES, MAX_PHASES, MAX_STREAMS, UNITS};

#[test]
fn drafts_become_numbered_versions_until_the_scenario_is_retired() {
    let given = tenant(&[]);
    let id = ScenarioId(given.fresh());
    let expected = ScenarioDrafted { scenario_id: id, name: "Yogurt".to_owned(), definition: small().parse().unwrap() };
    given.when(draft(" Yogurt ", small())).event(&Event::Scenario(ScenarioEvent::ScenarioDrafted(expected)));

    let mut given = tenant(&[drafted(1, "Yogurt", &small())]);
    given.when(publish(1)).event(&published(1, 1, &small()));
    given.happened(&published(1, 1, &small()));
    let message = "scenario 'Yogurt' has no change since version 1";
    given.when(publish(1)).refused("NOTHING_TO_PUBLISH", None, message);
    let wider = DefinitionInput { gates: vec![], ..small() };
    given.when(revise(1, "Yogurt", wider.clone())).event(&revised(1, "Yogurt", &wider));
    given.happened(&revised(1, "Yogurt", &wider));
    given.when(publish(1)).event(&published(1, 2, &wider));
    given.when(retire(1)).event(&retired(1));
    given.happened(&retired(1));
    for command in [retire(1), publish(1), revise(1, "Yogurt", small())] {
        given.when(command).refused("SCENARIO_RETIRED", None, "scenario 'Yogurt' is retired");
    }
    given.when(draft("Yogurt", small())).accepted();
}

#[test]
fn a_draft_like_the_published_version_is_nothing_to_publish_whatever_lay_between() {
    let other = DefinitionInput { gates: vec![], ..small() };
    let given = tenant(&[
        drafted(1, "Yogurt", &small()),
        published(1, 1, &small()),
        revised(1, "Yogurt", &other),
        revised(1, "Yogurt", &small()),
    ]);
    assert_eq!(given.when(publish(1)).refusal().code(), "NOTHING_TO_PUBLISH");
}

#[test]
fn names_are_unique_among_those_not_retired() {
    let given = tenant(&[drafted(1, "Yogurt", &small()), drafted(2, "Cheese", &small())]);
    let message = format!("scenario name 'Yogurt' is already used by scenario {}", scenario(1));
    given.when(draft("Yogurt", small())).refused("DUPLICATE_SCENARIO_NAME", Some("name"), &message);
    given.when(revise(2, "Yogurt", small())).refused("DUPLICATE_SCENARIO_NAME", Some("name"), &message);
    given.when(revise(1, "Yogurt", small())).accepted();
    assert_eq!(given.when(draft(" ", small())).refusal().code(), "INVALID_TEXT");
    let message = format!("scenario {} does not exist", scenario(3));
    given.when(publish(3)).refused("UNKNOWN_SCENARIO", Some("scenarioId"), &message);
}

#[test]
fn scenarios_are_decided_in_the_tenants_stream_at_the_version_that_was_seen() {
    assert_eq!(site(&[]).when(draft("Yogurt", small())).refusal().code(), "WRONG_STREAM");
    let given = tenant(&[drafted(1, "Yogurt", &small()), published(1, 1, &small())]);
    let mut request = given.request(retire(1));
    request.expected_version = Some(1);
    let message = "the expected version is 1 but the current one is 2";
    given.when_asked(&request).refused("VERSION_CONFLICT", Some("expectedVersion"), message);
    request.expected_version = Some(2);
    given.when_asked(&request).accepted();
    assert_ne!(command_id(1), command_id(2));
}

/// Nobody drafts or revises a scenario to this.
#[track_caller]
fn refuses(definition: DefinitionInput, code: &str, field: &str, message: &str) {
    tenant(&[]).when(draft("Yogurt", definition.clone())).refused(code, Some(field), message);
    let given = tenant(&[drafted(1, "Yogurt", &small())]);
    assert_eq!(given.when(revise(1, "Yogurt", definition)).refusal().code(), code);
}

#[test]
fn what_is_no_process_is_refused_by_name() {
    let with_streams = |streams| DefinitionInput { streams, ..small() };
    let with_phases = |phases| DefinitionInput { phases, gates: vec![], ..small() };
    let lost = PhaseInput { stream: "whey".to_owned(), ..phase(0) };
    let red = Stream { colour: "red".to_owned(), ..stream("milk") };
    let far = PhaseInput { number: 10_000, ..phase(0) };
    for phases in [vec![], vec![phase(1)]] {
        let message = "a scenario needs phase 0, in which its runs start";
        refuses(with_phases(phases), "NO_FIRST_PHASE", "phases", message);
    }
    for (streams, code, message) in [
        (vec![stream("milk"), stream(" milk ")], "DUPLICATE_STREAM", "stream key 'milk' stands twice"),
        (vec![red], "INVALID_COLOUR", "stream 'milk': the colour must be like #1e90ff"),
    ] {
        refuses(with_streams(streams), code, "streams", message);
    }
    for (phases, code, message) in [
        (vec![phase(0), phase(0)], "DUPLICATE_PHASE", "phase number 0 stands twice"),
        (vec![lost], "UNKNOWN_STREAM", "phase 0 is in stream 'whey', which is not in the scenario"),
        (vec![far], "INVALID_NUMBER", "phases must be a number from 0 to 9999"),
        (vec![registering("0")], "QUANTITY_NOT_POSITIVE", "the quantity 0 is not greater than zero"),
    ] {
        refuses(with_phases(phases), code, "phases", message);
    }
}

#[test]
fn what_is_no_gate_is_refused_by_name() {
    let with_gates = |gates| DefinitionInput { gates, ..small() };
    let with_limits = |limits| with_gates(vec![GateInput { limits, ..gate("heat", 0) }]);
    let stone = LimitInput { unit: "stone".to_owned(), ..limit("core", Some("1"), None) };
    let items = with_gates(vec![GateInput { checklist: vec![item("a"), item("a")], ..gate("heat", 0) }]);
    let twice = || limit("core", Some("1"), None);
    let unit = "gate 'heat': limit 'core' has the unit 'stone', which is not a known UCUM code such as Cel, bar or 1";
    let inverted = "gate 'heat': limit 'core' has its low bound 72.1 above its high bound 72";
    let unbounded = "gate 'heat': limit 'core' needs a low or a high bound";
    let missing = "gate 'heat' is after phase 7, which is not in the scenario";
    let number = "gates must be a number with at most 28 digits, such as 72.4";
    for (definition, code, message) in [
        (with_gates(vec![gate("heat", 7)]), "UNKNOWN_PHASE", missing),
        (with_gates(vec![gate("heat", 0), gate("heat", 1)]), "DUPLICATE_GATE", "gate key 'heat' stands twice"),
        (items, "DUPLICATE_CHECKLIST_ITEM", "gate 'heat': checklist item 'a' stands twice"),
        (with_limits(vec![twice(), twice()]), "DUPLICATE_LIMIT", "gate 'heat': limit 'core' stands twice"),
        (with_limits(vec![limit("core", None, None)]), "UNBOUNDED_LIMIT", unbounded),
        (with_limits(vec![limit("core", Some("72.1"), Some("72.0"))]), "LIMIT_INVERTED", inverted),
        (with_limits(vec![stone]), "UNKNOWN_UNIT", unit),
        (with_limits(vec![limit("core", Some("warm"), None)]), "INVALID_NUMBER", number),
    ] {
        refuses(definition, code, "gates", message);
    }
}

#[test]
fn sizes_are_limited() {
    let many = |count: usize, what: &str| -> Vec<String> { (0..count).map(|at| format!("{what}{at}")).collect() };
    let streams = |count| DefinitionInput {
        streams: many(count, "s").iter().map(|key| stream(key)).chain([stream("milk")]).collect(),
        ..small()
    };
    let phases = |count: usize| DefinitionInput { phases: (0..count as u32).map(phase).collect(), ..small() };
    let gates = |count| DefinitionInput {
        gates: many(count, "g")
            .iter()
            .map(|key| GateInput { checklist: vec![], limits: vec![], ..gate(key, 0) })
            .collect(),
        ..small()
    };
    let items = |count| {
        let checklist = many(count, "i").iter().map(|key| item(key)).collect();
        DefinitionInput { gates: vec![GateInput { checklist, ..gate("heat", 0) }], ..small() }
    };
    for (most, one_more, field) in [
        (streams(MAX_STREAMS - 1), streams(MAX_STREAMS), "streams"),
        (phases(MAX_PHASES), phases(MAX_PHASES + 1), "phases"),
        (gates(MAX_GATES), gates(MAX_GATES + 1), "gates"),
        (items(MAX_ENTRIES), items(MAX_ENTRIES + 1), "gates"),
    ] {
        tenant(&[]).when(draft("Yogurt", most)).accepted();
        let refusal = tenant(&[]).when(draft("Yogurt", one_more)).refusal();
        assert_eq!((refusal.code(), refusal.field()), ("TOO_MANY", Some(field)));
    }
    let long = ChecklistItem { question: "?".repeat(200), ..item("a") };
    let checklist = |_| (0..40).map(|at| ChecklistItem { key: format!("i{at}"), ..long.clone() }).collect();
    let gates = (0..60).map(|at| GateInput { checklist: checklist(at), ..gate(&format!("g{at}"), 0) }).collect();
    let refusal = tenant(&[]).when(draft("Yogurt", DefinitionInput { gates, ..small() })).refusal();
    assert_eq!((refusal.code(), refusal.field()), ("TOO_LARGE", Some("definition")), "more than {MAX_BYTES}");
}

#[test]
fn every_unit_stands_once_and_texts_are_trimmed() {
    let unique: std::collections::BTreeSet<_> = UNITS.iter().collect();
    assert_eq!(unique.len(), UNITS.len());
    let blank = |text: &str| format!(" {text} ");
    let mut spaced = small();
    spaced.phases[0].stream = blank("milk");
    spaced.gates[0].key = blank("heat");
    spaced.gates[0].limits[0].unit = blank("Cel");
    spaced.streams[0].colour = blank("#1e90FF");
    assert_eq!(spaced.parse().unwrap(), small().parse().unwrap());
}

#[test]
fn a_snapshot_of_the_state_reads_back() {
    let given = tenant(&[drafted(1, "Yogurt", &small()), published(1, 1, &small())]);
    let json = serde_json::to_string(&given.state.scenarios).unwrap();
    let read: super::super::state::SharedScenarios = serde_json::from_str(&json).unwrap();
    assert_eq!(read, given.state.scenarios);
}
