//! Pipelines: the office drafts reports, changes them and publishes them, now and then with a mistake.

use lotline_domain::pipeline::{Definition, Edge, Task};
use rand::Rng;
use rand::rngs::SmallRng;
use serde_json::json;

use super::step::{Action, Expected};

/// Names of reports, in the order in which they are begun.
const REPORTS: [&str; 4] = ["Daily yield", "Cold chain", "Cup usage", "Supplier milk quality"];
/// One report in so many batches.
const EVERY: u64 = 4;

/// The pipelines of this run.
#[derive(Debug, Default)]
pub(super) struct Office {
    /// Name, and how often its draft was changed.
    reports: Vec<(String, u32)>,
}

impl Office {
    /// What the office does in the course of a batch.
    pub(super) fn plan(&mut self, batch: u64, run: &str, random: &mut SmallRng) -> Vec<(Action, Expected)> {
        if !batch.is_multiple_of(EVERY) {
            return Vec::new();
        }
        let place = (batch / EVERY) as usize;
        if let Some(title) = REPORTS.get(place) {
            let name = format!("{title} {run}");
            self.reports.push((name.clone(), 0));
            let draft = Action::DraftPipeline { name: name.clone(), definition: definition(0) };
            return vec![(draft, Expected::Accepted), (Action::PublishPipeline { name }, Expected::Accepted)];
        }
        let (name, revision) = &mut self.reports[place % REPORTS.len()];
        let name = name.clone();
        if random.random_bool(0.25) {
            let publish = Action::PublishPipeline { name };
            return vec![(publish, Expected::Refused("NOTHING_TO_PUBLISH"))];
        }
        *revision += 1;
        let mut steps = Vec::new();
        if random.random_bool(0.25) {
            let mut cyclic = definition(*revision);
            cyclic.edges.push(edge("store", "read"));
            let revise = Action::RevisePipeline { name: name.clone(), definition: cyclic };
            steps.push((revise, Expected::Refused("TASK_CYCLE")));
        }
        let revise = Action::RevisePipeline { name: name.clone(), definition: definition(*revision) };
        steps.push((revise, Expected::Accepted));
        steps.push((Action::PublishPipeline { name }, Expected::Accepted));
        steps
    }
}

fn definition(revision: u32) -> Definition {
    let task = |id: &str, kind: &str, config| Task { id: id.into(), kind: kind.into(), config };
    Definition {
        tasks: vec![
            task("read", "extract.lots", json!({"days": 1 + revision})),
            task("sum", "transform.aggregate", json!({"by": ["product"], "sum": "quantity"})),
            task("check", "validate.range", json!({"field": "quantity", "min": 0})),
            task("store", "load.table", json!({"table": "report"})),
        ],
        edges: vec![edge("read", "sum"), edge("sum", "check"), edge("check", "store")],
    }
}

fn edge(from: &str, to: &str) -> Edge {
    Edge { from: from.into(), to: to.into() }
}
