//! Pipelines: graphs of tasks that are drafted, published as numbered versions, and archived.
//!
//! Invariants: task ids are unique · every edge joins two tasks of the pipeline · the graph has no cycle · a version never changes
//! once published · names are unique among pipelines that are not archived.

use std::collections::{BTreeMap, HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::command::text;
use crate::envelope::Hash;
use crate::id::PipelineId;
use crate::refusal::Refusal;

/// One step of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// Unique in the pipeline.
    pub id: String,
    /// Which connector or transformation, such as `extract.csv`.
    pub kind: String,
    /// Settings of that kind.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub config: Value,
}

/// `to` waits for `from`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Edge {
    /// Runs first.
    pub from: String,
    /// Runs after.
    pub to: String,
}

/// A graph of tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Definition {
    /// The steps.
    pub tasks: Vec<Task>,
    /// Their order.
    #[serde(default)]
    pub edges: Vec<Edge>,
}

/// `lotline.pipeline.drafted.v1`: a pipeline was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PipelineDrafted {
    /// The new pipeline.
    pub pipeline_id: PipelineId,
    /// Unique among those not archived.
    pub name: String,
    /// Its first draft.
    pub definition: Definition,
}

/// `lotline.pipeline.revised.v1`: a pipeline's draft was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PipelineRevised {
    /// The pipeline.
    pub pipeline_id: PipelineId,
    /// Its name from now on.
    pub name: String,
    /// Its draft from now on.
    pub definition: Definition,
}

/// `lotline.pipeline.published.v1`: a pipeline's draft became a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PipelinePublished {
    /// The pipeline.
    pub pipeline_id: PipelineId,
    /// Counts 1, 2, 3, …
    #[schemars(range(min = 1))]
    pub version: u32,
    /// SHA-256 of the definition's JSON as it stood in the event that drafted or revised it.
    pub definition_hash: Hash,
}

/// `lotline.pipeline.archived.v1`: a pipeline was retired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PipelineArchived {
    /// The pipeline.
    pub pipeline_id: PipelineId,
}

/// A pipeline as the rules need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// Hash of its draft.
    pub draft: Hash,
    /// Number and hash of the newest version.
    pub published: Option<(u32, Hash)>,
    /// Whether it is retired.
    pub archived: bool,
    /// Sequence of the last event that touched it.
    pub version: u64,
}

/// All pipelines of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pipelines {
    by_id: HashMap<PipelineId, Pipeline>,
    by_name: HashMap<String, PipelineId>,
}

/// Most tasks of one pipeline.
pub const MAX_TASKS: usize = 1_000;
/// Most edges of one pipeline.
pub const MAX_EDGES: usize = 5_000;
/// Deepest nesting of a task's settings. A decoder gives up at 128 levels for the whole event, and an event that can't be
/// read back stops its stream for good.
pub const MAX_CONFIG_DEPTH: usize = 64;

impl Definition {
    /// Checks the graph.
    ///
    /// # Errors
    /// The first invariant that is broken; a cycle is named by its tasks.
    pub fn validate(&self) -> Result<(), Refusal> {
        if self.tasks.is_empty() {
            return Err(Refusal::EmptyPipeline);
        }
        let counts = [("tasks", self.tasks.len(), MAX_TASKS), ("edges", self.edges.len(), MAX_EDGES)];
        for (field, given, max) in counts {
            if given > max {
                return Err(Refusal::TooMany { field, given, max });
            }
        }
        let mut waits_for: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
        for task in &self.tasks {
            text("tasks", &task.id, 64)?;
            text("tasks", &task.kind, 64)?;
            if !fits(&task.config, MAX_CONFIG_DEPTH) {
                return Err(Refusal::TooDeep { field: "tasks", max: MAX_CONFIG_DEPTH });
            }
            if waits_for.insert(&task.id, HashSet::new()).is_some() {
                return Err(Refusal::DuplicateTask(task.id.clone()));
            }
        }
        for edge in &self.edges {
            if !waits_for.contains_key(edge.from.as_str()) {
                return Err(Refusal::UnknownTask(edge.from.chars().take(64).collect()));
            }
            let Some(before) = waits_for.get_mut(edge.to.as_str()) else {
                return Err(Refusal::UnknownTask(edge.to.chars().take(64).collect()));
            };
            before.insert(&edge.from);
        }
        self.refuse_cycle(waits_for)
    }

    /// Kahn's algorithm: what can't be ordered waits, directly or not, for itself.
    fn refuse_cycle<'a>(&'a self, mut waits_for: BTreeMap<&'a str, HashSet<&str>>) -> Result<(), Refusal> {
        let mut followers: HashMap<&str, Vec<&str>> = HashMap::new();
        for edge in &self.edges {
            followers.entry(&edge.from).or_default().push(&edge.to);
        }
        let mut ready: Vec<&str> =
            waits_for.iter().filter(|(_, before)| before.is_empty()).map(|(task, _)| *task).collect();
        while let Some(task) = ready.pop() {
            waits_for.remove(task);
            for follower in followers.get(task).into_iter().flatten() {
                if let Some(before) = waits_for.get_mut(follower)
                    && before.remove(task)
                    && before.is_empty()
                {
                    ready.push(follower);
                }
            }
        }
        if waits_for.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = waits_for.keys().take(10).copied().collect();
        Err(Refusal::TaskCycle(names.join(", ")))
    }

    /// The same graph without blanks around ids and kinds.
    fn trimmed(&self) -> Self {
        let trim = |text: &str| text.trim().to_owned();
        let task = |task: &Task| Task { id: trim(&task.id), kind: trim(&task.kind), config: task.config.clone() };
        let edge = |edge: &Edge| Edge { from: trim(&edge.from), to: trim(&edge.to) };
        Self { tasks: self.tasks.iter().map(task).collect(), edges: self.edges.iter().map(edge).collect() }
    }

    /// SHA-256 of the JSON form.
    pub fn hash(&self) -> Hash {
        let json = serde_json::to_vec(self).expect("invariant: a definition has string keys and finite numbers");
        Hash(Sha256::digest(json).into())
    }
}

impl Pipelines {
    /// A pipeline by id.
    pub fn get(&self, id: PipelineId) -> Option<&Pipeline> {
        self.by_id.get(&id)
    }

    /// # Errors
    /// Bad name or graph, or a name that is taken.
    pub fn decide_draft(
        &self,
        id: PipelineId,
        name: &str,
        definition: &Definition,
    ) -> Result<PipelineDrafted, Refusal> {
        let name = self.free_name(id, name)?;
        let definition = definition.trimmed();
        definition.validate()?;
        Ok(PipelineDrafted { pipeline_id: id, name, definition })
    }

    /// # Errors
    /// Unknown or archived pipeline, bad name or graph, or a name that is taken.
    pub fn decide_revise(
        &self,
        id: PipelineId,
        name: &str,
        definition: &Definition,
    ) -> Result<PipelineRevised, Refusal> {
        self.active(id)?;
        let name = self.free_name(id, name)?;
        let definition = definition.trimmed();
        definition.validate()?;
        Ok(PipelineRevised { pipeline_id: id, name, definition })
    }

    /// # Errors
    /// Unknown or archived pipeline, or a draft equal to the newest version.
    pub fn decide_publish(&self, id: PipelineId) -> Result<PipelinePublished, Refusal> {
        let pipeline = self.active(id)?;
        let version = match pipeline.published {
            Some((version, hash)) if hash == pipeline.draft => {
                return Err(Refusal::NothingToPublish { name: pipeline.name.clone(), version });
            }
            Some((version, _)) => version + 1,
            None => 1,
        };
        Ok(PipelinePublished { pipeline_id: id, version, definition_hash: pipeline.draft })
    }

    /// # Errors
    /// Unknown or already archived pipeline.
    pub fn decide_archive(&self, id: PipelineId) -> Result<PipelineArchived, Refusal> {
        self.active(id)?;
        Ok(PipelineArchived { pipeline_id: id })
    }

    /// Applies a first draft.
    pub fn evolve_drafted(&mut self, event: &PipelineDrafted, sequence: u64) {
        self.by_name.insert(event.name.clone(), event.pipeline_id);
        let draft = event.definition.hash();
        let pipeline =
            Pipeline { name: event.name.clone(), draft, published: None, archived: false, version: sequence };
        self.by_id.insert(event.pipeline_id, pipeline);
    }

    /// Applies a changed draft.
    pub fn evolve_revised(&mut self, event: &PipelineRevised, sequence: u64) {
        if let Some(pipeline) = self.by_id.get_mut(&event.pipeline_id) {
            self.by_name.remove(&pipeline.name);
            self.by_name.insert(event.name.clone(), event.pipeline_id);
            pipeline.name.clone_from(&event.name);
            pipeline.draft = event.definition.hash();
            pipeline.version = sequence;
        }
    }

    /// Applies a publication.
    pub fn evolve_published(&mut self, event: &PipelinePublished, sequence: u64) {
        if let Some(pipeline) = self.by_id.get_mut(&event.pipeline_id) {
            pipeline.published = Some((event.version, event.definition_hash));
            pipeline.version = sequence;
        }
    }

    /// Applies a retirement.
    pub fn evolve_archived(&mut self, event: &PipelineArchived, sequence: u64) {
        if let Some(pipeline) = self.by_id.get_mut(&event.pipeline_id) {
            self.by_name.remove(&pipeline.name);
            pipeline.archived = true;
            pipeline.version = sequence;
        }
    }

    /// # Errors
    /// Unknown or archived pipeline.
    pub(crate) fn active(&self, id: PipelineId) -> Result<&Pipeline, Refusal> {
        let pipeline = self.by_id.get(&id).ok_or(Refusal::UnknownPipeline(id))?;
        if pipeline.archived {
            return Err(Refusal::PipelineArchived { name: pipeline.name.clone() });
        }
        Ok(pipeline)
    }

    fn free_name(&self, id: PipelineId, name: &str) -> Result<String, Refusal> {
        let name = text("name", name, 128)?;
        match self.by_name.get(&name) {
            Some(by) if *by != id => Err(Refusal::DuplicatePipelineName { name, by: *by }),
            Some(_) | None => Ok(name),
        }
    }
}

/// Whether a value is nested at most so many levels deep.
fn fits(value: &Value, levels: usize) -> bool {
    let mut inner: Box<dyn Iterator<Item = &Value>> = match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(entries) => Box::new(entries.values()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return true,
    };
    levels > 0 && inner.all(|value| fits(value, levels - 1))
}

#[cfg(test)]
mod tests;
