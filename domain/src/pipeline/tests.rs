//! Given/when/then: which graphs are pipelines, and how drafts become versions.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::command::Command;
use crate::event::Event;
use crate::given::{Given, Then, tenant};

const P1: PipelineId = PipelineId(Uuid::from_u128(1));
const P2: PipelineId = PipelineId(Uuid::from_u128(2));

/// Tasks separated by spaces; edges as `from>to`.
fn graph(tasks: &str, edges: &str) -> Definition {
    let task = |id: &str| Task { id: id.into(), kind: "extract.csv".into(), config: Value::Null };
    let edge = |text: &str| {
        let (from, to) = text.split_once('>').unwrap();
        Edge { from: from.into(), to: to.into() }
    };
    Definition {
        tasks: tasks.split_whitespace().map(task).collect(),
        edges: edges.split_whitespace().map(edge).collect(),
    }
}

fn drafted(pipeline_id: PipelineId, name: &str, definition: Definition) -> Event {
    Event::PipelineDrafted(PipelineDrafted { pipeline_id, name: name.into(), definition })
}

fn revised(pipeline_id: PipelineId, name: &str, definition: Definition) -> Event {
    Event::PipelineRevised(PipelineRevised { pipeline_id, name: name.into(), definition })
}

fn published(pipeline_id: PipelineId, version: u32, definition: &Definition) -> Event {
    Event::PipelinePublished(PipelinePublished { pipeline_id, version, definition_hash: definition.hash() })
}

fn archived(pipeline_id: PipelineId) -> Event {
    Event::PipelineArchived(PipelineArchived { pipeline_id })
}

fn drafting(given: &Given, name: &str, definition: Definition) -> Then {
    given.when(Command::DraftPipeline { name: name.into(), definition })
}

fn revising(given: &Given, pipeline_id: PipelineId, name: &str, definition: Definition) -> Then {
    given.when(Command::RevisePipeline { pipeline_id, name: name.into(), definition })
}

fn publishing(given: &Given, pipeline_id: PipelineId) -> Then {
    given.when(Command::PublishPipeline { pipeline_id })
}

fn archiving(given: &Given, pipeline_id: PipelineId) -> Then {
    given.when(Command::ArchivePipeline { pipeline_id })
}

#[test]
fn a_pipeline_is_drafted_with_trimmed_names() {
    let given = tenant(&[]);
    let expected = drafted(PipelineId(given.fresh()), "nightly", graph("a b", "a>b"));
    let mut definition = graph("a b", "a>b");
    definition.tasks[0].id = " a ".into();
    definition.tasks[0].kind = "extract.csv\n".into();
    definition.edges[0].to = "\tb".into();
    drafting(&given, " nightly ", definition).event(&expected);
}

#[test]
fn a_pipeline_has_tasks() {
    drafting(&tenant(&[]), "p", graph("", "")).refused(
        "EMPTY_PIPELINE",
        Some("tasks"),
        "a pipeline needs at least one task",
    );
}

#[test]
fn task_ids_are_unique_and_edges_join_tasks() {
    let given = tenant(&[]);
    let refused = |definition, code: &str, field, message: &str| {
        drafting(&given, "p", definition).refused(code, Some(field), message);
    };
    refused(graph("a b a", ""), "DUPLICATE_TASK", "tasks", "task id 'a' stands twice");
    let message = "an edge names task 'c', which is not in the pipeline";
    refused(graph("a b", "a>b c>a"), "UNKNOWN_TASK", "edges", message);
    refused(graph("a b", "a>b a>c"), "UNKNOWN_TASK", "edges", message);
}

#[test]
fn tasks_do_not_wait_for_each_other_in_a_cycle() {
    let given = tenant(&[]);
    let refused = |definition, message: &str| {
        drafting(&given, "p", definition).refused("TASK_CYCLE", Some("edges"), message);
    };
    refused(graph("a", "a>a"), "tasks a wait for each other in a cycle");
    refused(graph("a b c", "a>b b>c c>b"), "tasks b, c wait for each other in a cycle");
    let tasks: Vec<String> = (0..1_000).map(|i| format!("t{i:03}")).collect();
    let chain: Vec<String> = tasks.windows(2).map(|pair| format!("{}>{}", pair[0], pair[1])).collect();
    drafting(&given, "p", graph(&tasks.join(" "), &chain.join(" "))).accepted();
    let ring = graph(&tasks.join(" "), &format!("{} t999>t000", chain.join(" ")));
    refused(ring, &format!("tasks {} wait for each other in a cycle", tasks[..10].join(", ")));
}

#[test]
fn an_edge_may_stand_twice() {
    drafting(&tenant(&[]), "p", graph("a b", "a>b a>b")).accepted();
}

#[test]
fn definitions_have_limits() {
    let given = tenant(&[]);
    let tasks: Vec<String> = (0..1_001).map(|i| format!("t{i}")).collect();
    let message = "tasks has 1001 entries; at most 1000 are accepted";
    drafting(&given, "p", graph(&tasks.join(" "), "")).refused("TOO_MANY", Some("tasks"), message);
    let message = "edges has 5001 entries; at most 5000 are accepted";
    drafting(&given, "p", graph("a b", &"a>b ".repeat(5_001))).refused("TOO_MANY", Some("edges"), message);
    for (field, max, name, id, kind) in [
        ("name", 128, "", "a", "k"),
        ("name", 128, &*"x".repeat(129), "a", "k"),
        ("name", 128, "a\u{1b}b", "a", "k"),
        ("tasks", 64, "p", " ", "k"),
        ("tasks", 64, "p", &*"x".repeat(65), "k"),
        ("tasks", 64, "p", "a\nb", "k"),
        ("tasks", 64, "p", "a", ""),
        ("tasks", 64, "p", "a", &*"x".repeat(65)),
    ] {
        let task = Task { id: id.into(), kind: kind.into(), config: Value::Null };
        let message = format!("{field} must have 1 to {max} characters and no control characters");
        let definition = Definition { tasks: vec![task], edges: vec![] };
        drafting(&given, name, definition).refused("INVALID_TEXT", Some(field), &message);
    }
}

#[test]
fn an_event_is_never_nested_too_deep_to_be_read_back() {
    let given = tenant(&[]);
    let nested = |levels: usize| {
        let config = (0..levels)
            .fold(json!(1), |inner, level| if level % 2 == 0 { json!([inner]) } else { json!({ "x": inner }) });
        let mut definition = graph("a", "");
        definition.tasks[0].config = config;
        definition
    };
    let decision = drafting(&given, "p", nested(64)).accepted();
    let value = decision.events[0].encode(decision.occurred_at, None);
    let fact = Event::decode(decision.events[0].event_type(), &value).unwrap();
    assert_eq!(fact.event, decision.events[0]);
    for levels in [65, 120, 127, 500] {
        let message = "tasks is nested deeper than 64 levels";
        drafting(&given, "p", nested(levels)).refused("TOO_DEEP", Some("tasks"), message);
    }
}

#[test]
fn names_are_unique_among_those_not_archived() {
    let given = tenant(&[drafted(P1, "nightly", graph("a", "")), drafted(P2, "hourly", graph("a", ""))]);
    let message = format!("pipeline name 'nightly' is already used by pipeline {P1}");
    let code = "DUPLICATE_PIPELINE_NAME";
    drafting(&given, " nightly ", graph("a", "")).refused(code, Some("name"), &message);
    revising(&given, P2, "nightly", graph("a", "")).refused(code, Some("name"), &message);
    revising(&given, P1, "nightly", graph("b", "")).event(&revised(P1, "nightly", graph("b", "")));
}

#[test]
fn archiving_and_renaming_free_the_name() {
    let given = tenant(&[drafted(P1, "nightly", graph("a", "")), archived(P1)]);
    drafting(&given, "nightly", graph("a", "")).accepted();
    let given = tenant(&[drafted(P1, "nightly", graph("a", "")), revised(P1, "daily", graph("a", ""))]);
    drafting(&given, "nightly", graph("a", "")).accepted();
    drafting(&given, "daily", graph("a", "")).refusal();
    // The archived pipeline must not take back its name when the successor is archived too.
    let given = tenant(&[drafted(P1, "nightly", graph("a", "")), archived(P1), drafted(P2, "nightly", graph("a", ""))]);
    drafting(&given, "nightly", graph("a", "")).refusal();
}

#[test]
fn versions_count_from_one() {
    let (one, two) = (graph("a", ""), graph("a b", "a>b"));
    let mut given = tenant(&[drafted(P1, "nightly", one.clone())]);
    publishing(&given, P1).event(&published(P1, 1, &one));
    given.happened(&published(P1, 1, &one));
    given.happened(&revised(P1, "nightly", two.clone()));
    publishing(&given, P1).event(&published(P1, 2, &two));
    given.happened(&published(P1, 2, &two));
    given.happened(&revised(P1, "nightly", one.clone()));
    publishing(&given, P1).event(&published(P1, 3, &one));
}

#[test]
fn an_unchanged_draft_is_not_published_again() {
    let one = graph("a", "");
    let given = tenant(&[drafted(P1, "nightly", one.clone()), published(P1, 1, &one)]);
    let message = "pipeline 'nightly' has no change since version 1";
    publishing(&given, P1).refused("NOTHING_TO_PUBLISH", None, message);
    let given =
        tenant(&[drafted(P1, "nightly", one.clone()), published(P1, 1, &one), revised(P1, "renamed", one.clone())]);
    let message = "pipeline 'renamed' has no change since version 1";
    publishing(&given, P1).refused("NOTHING_TO_PUBLISH", None, message);
}

#[test]
fn what_does_not_exist_or_is_archived_can_not_change() {
    let given = tenant(&[drafted(P1, "nightly", graph("a", "")), archived(P1)]);
    let all = |id| [revising(&given, id, "x", graph("a", "")), publishing(&given, id), archiving(&given, id)];
    for then in all(P2) {
        then.refused("UNKNOWN_PIPELINE", Some("pipelineId"), &format!("pipeline {P2} does not exist"));
    }
    for then in all(P1) {
        then.refused("PIPELINE_ARCHIVED", None, "pipeline 'nightly' is archived");
    }
    archiving(&tenant(&[drafted(P1, "nightly", graph("a", ""))]), P1).event(&archived(P1));
}

/// By brute force: removes tasks without predecessors for as long as there are any.
fn is_acyclic(tasks: usize, edges: &[(usize, usize)]) -> bool {
    let mut left: BTreeSet<usize> = (0..tasks).collect();
    while let Some(task) = left.iter().copied().find(|t| !edges.iter().any(|(from, to)| to == t && left.contains(from)))
    {
        left.remove(&task);
    }
    left.is_empty()
}

proptest! {
    #[test]
    fn exactly_the_graphs_without_a_cycle_are_accepted(
        edges in proptest::collection::vec((0_usize..7, 0_usize..7), 0..10),
    ) {
        let tasks: Vec<String> = (0..7).map(|i| format!("t{i}")).collect();
        let text: Vec<String> = edges.iter().map(|(from, to)| format!("t{from}>t{to}")).collect();
        let verdict = graph(&tasks.join(" "), &text.join(" ")).validate();
        prop_assert_eq!(verdict.is_ok(), is_acyclic(7, &edges), "{:?}", verdict);
    }
}
