//! What the product's rules allow, written a second time from their description and without a type, a parser or a table of the product's.
//!
//! It is slow and plain on purpose: lists that are searched from the beginning, amounts as whole numbers, graphs walked until they end.
//! [`Stream::verdict`] says what must become of an ask, [`Stream::apply`] takes an event as the JSON that stands in the log.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ask::{Amount, Ask, Graph, LotName, What};
use crate::dock::Partner;
use crate::process::{Process, Processes};

#[path = "model/alerts.rs"]
pub(crate) mod alerts;
#[path = "model/dock.rs"]
mod dock;
#[path = "model/holds.rs"]
mod holds;
#[path = "model/lots.rs"]
mod lots;

/// Amounts are counted in parts of 10^14 of a base unit: six decimals times the eight of a pound.
const PARTS: i128 = 100_000_000_000_000;

#[derive(Debug, Clone)]
struct Lot {
    id: Uuid,
    code: String,
    dimension: &'static str,
    unit: &'static str,
    product: &'static str,
    left: i128,
    qc: String,
    version: u64,
    parents: Vec<Uuid>,
}

#[derive(Debug, Clone)]
struct Pipeline {
    id: Uuid,
    name: String,
    /// JSON of the draft, and of the newest version.
    draft: String,
    published: Option<(u64, String)>,
    archived: bool,
    version: u64,
}

/// One stream as its events have made it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stream {
    lots: Vec<Lot>,
    pipelines: Vec<Pipeline>,
    signals: Vec<(String, u64)>,
    holds: Vec<holds::Hold>,
    /// Events about holds that a decision has brought so far: kind, data and sequence. The decision itself comes next.
    pub(crate) parts: Vec<(String, Value, u64)>,
    pub(crate) processes: Processes,
    pub(crate) alerts: alerts::Alerts,
    /// In a site's stream, as the tenant's was when the event was decided.
    pub(crate) partners: Vec<Partner>,
    /// Codes of shipments.
    shipments: Vec<String>,
}

/// A record's value with the bytes of the definition as they stand there.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    data: Drafted<'a>,
}

#[derive(Deserialize)]
struct Drafted<'a> {
    #[serde(borrow)]
    definition: &'a RawValue,
}

impl Stream {
    /// Nothing when the ask must be accepted, else the code of its refusal.
    pub(crate) fn verdict(&self, ask: &Ask, decided_at: i64) -> Option<&'static str> {
        let tenants = match &ask.what {
            What::Draft { .. } | What::Revise { .. } | What::Publish { .. } | What::Archive { .. } => true,
            What::Process(process) => process.is_tenants(),
            What::Dock(asked) => asked.is_tenants(),
            What::Register { .. }
            | What::Judge { .. }
            | What::Transform(_)
            | What::Take { .. }
            | What::SeeTo { .. }
            | What::Hold(_)
            | What::Declare { .. } => false,
        };
        if tenants != (ask.stream == "_tenant") {
            return Some("WRONG_STREAM");
        }
        let too_late = |at: i64| at > decided_at + 300_000_000;
        if ask.occurred_at.is_some_and(|at| at < 946_684_800_000_000 || too_late(at)) {
            return Some("OCCURRED_AT_OUT_OF_RANGE");
        }
        if ask.expected.is_some_and(|expected| expected != self.version(&ask.what)) {
            return Some("VERSION_CONFLICT");
        }
        match &ask.what {
            What::Register { code, amount, parents } => self.may_register(code, amount, parents),
            What::Transform(asked) => self.may_transform(asked),
            What::Take { lot, how, amount } => self.may_take(lot, how, amount.as_ref()),
            What::Hold(asked) => self.may_hold(asked),
            What::Judge { lot, .. } => match self.lot(lot) {
                None => Some("UNKNOWN_LOT"),
                Some(lot) => (lot.qc == "FAIL").then_some("LOT_FAILED"),
            },
            What::Draft { name, graph } => self.may_name(None, name).or_else(|| may_be(graph)),
            What::Revise { pipeline, name, graph } => {
                self.active(*pipeline).err().or_else(|| self.may_name(Some(*pipeline), name)).or_else(|| may_be(graph))
            }
            What::Publish { pipeline } => match self.active(*pipeline) {
                Err(code) => Some(code),
                Ok(found) => {
                    let same = found.published.as_ref().is_some_and(|(_, published)| *published == found.draft);
                    same.then_some("NOTHING_TO_PUBLISH")
                }
            },
            What::Process(process) => self.processes.verdict(process, self.lot_of(process)),
            What::SeeTo { alert, how } => self.may_see_to(*alert, how),
            What::Dock(asked) => self.may_at_the_dock(asked),
            What::Archive { pipeline } => self.active(*pipeline).err(),
            What::Declare { name } => self.signals.iter().any(|(known, _)| known == name).then_some("DUPLICATE_SIGNAL"),
        }
    }

    fn version(&self, what: &What) -> u64 {
        match what {
            What::Register { .. } | What::Draft { .. } => 0,
            What::Judge { lot, .. } | What::Take { lot, .. } => self.lot(lot).map_or(0, |lot| lot.version),
            What::Transform(asked) => {
                asked.inputs.iter().filter_map(|(name, _)| self.lot(name)).map(|lot| lot.version).max().unwrap_or(0)
            }
            What::Process(process) => self.processes.version(process),
            What::SeeTo { alert, .. } => self.alerts.version(*alert),
            What::Dock(asked) => self.version_at_the_dock(asked),
            What::Hold(asked) => self.hold_version(asked),
            What::Revise { pipeline, .. } | What::Publish { pipeline } | What::Archive { pipeline } => {
                self.pipelines.iter().find(|known| known.id == *pipeline).map_or(0, |known| known.version)
            }
            What::Declare { name } => self.signals.iter().find(|(known, _)| known == name).map_or(0, |(_, at)| *at),
        }
    }

    /// The id of a lot by its code.
    pub(crate) fn id_of(&self, code: &str) -> Option<Uuid> {
        self.lots.iter().find(|lot| lot.code == code).map(|lot| lot.id)
    }

    /// The lot that a process names.
    fn lot_of(&self, process: &Process) -> Option<Uuid> {
        if let Process::Link { lot, .. } = process { self.lot(lot).map(|lot| lot.id) } else { None }
    }

    fn lot(&self, name: &LotName) -> Option<&Lot> {
        self.lots.iter().find(|lot| match name {
            LotName::Code(code) => lot.code == *code,
            LotName::Id(id) => lot.id == *id,
        })
    }

    fn may_register(&self, code: &str, amount: &Amount, parents: &[(LotName, Amount)]) -> Option<&'static str> {
        if code.trim().is_empty() {
            return Some("INVALID_TEXT");
        }
        if self.lots.iter().any(|lot| lot.code == code) {
            return Some("DUPLICATE_LOT_CODE");
        }
        if let Err(refused) = measure(amount.value, amount.unit) {
            return Some(refused);
        }
        let mut seen = Vec::new();
        for (name, asked) in parents {
            if *name == LotName::Code(code.to_owned()) {
                return Some("GENEALOGY_CYCLE");
            }
            let Some(parent) = self.lot(name) else { return Some("UNKNOWN_LOT") };
            if seen.contains(&parent.id) {
                return Some("DUPLICATE_PARENT");
            }
            seen.push(parent.id);
            let (dimension, parts) = match measure(asked.value, asked.unit) {
                Ok(measured) => measured,
                Err(refused) => return Some(refused),
            };
            if let Some(refused) = self.blocked(parent, false) {
                return Some(refused);
            }
            if parent.dimension != dimension {
                return Some("UNIT_MISMATCH");
            }
            if parts > parent.left {
                return Some("NOT_ENOUGH_LEFT");
            }
        }
        None
    }

    /// Why nothing may go from a lot into another, but for its own parts.
    fn blocked(&self, lot: &Lot, split: bool) -> Option<&'static str> {
        if lot.qc == "FAIL" {
            return Some("LOT_BLOCKED");
        }
        (!split && self.is_held(lot.id)).then_some("LOT_ON_HOLD")
    }

    fn active(&self, id: Uuid) -> Result<&Pipeline, &'static str> {
        let found = self.pipelines.iter().find(|known| known.id == id).ok_or("UNKNOWN_PIPELINE")?;
        if found.archived { Err("PIPELINE_ARCHIVED") } else { Ok(found) }
    }

    fn may_name(&self, own: Option<Uuid>, name: &str) -> Option<&'static str> {
        let taken = self.pipelines.iter().any(|known| !known.archived && known.name == name && Some(known.id) != own);
        taken.then_some("DUPLICATE_PIPELINE_NAME")
    }

    /// Takes an event that comes before the last one of a decision.
    ///
    /// # Errors
    /// When the ask has no such events.
    pub(crate) fn begin(&mut self, ask: &Ask, kind: &str, value: &[u8], sequence: u64) -> Result<(), String> {
        if !matches!(ask.what, What::Judge { .. }) || !kind.starts_with("hold.") {
            return Err(format!("{:?} began with {kind}", ask.what));
        }
        let mut body: Value = serde_json::from_slice(value).map_err(|error| error.to_string())?;
        self.parts.push((kind.to_owned(), body["data"].take(), sequence));
        Ok(())
    }

    /// Takes an event of the log, which must be what was asked for. After an error the stream is of no use.
    ///
    /// # Errors
    /// What the event says and the ask does not.
    pub(crate) fn apply(&mut self, ask: &Ask, kind: &str, value: &[u8], sequence: u64) -> Result<String, String> {
        let body: Value = serde_json::from_slice(value).map_err(|error| error.to_string())?;
        let data = &body["data"];
        let id = |name: &str| -> Result<Uuid, String> {
            let text = data[name].as_str().ok_or_else(|| format!("no {name} in {data}"))?;
            text.parse().map_err(|error| format!("{name}: {error}"))
        };
        match (&ask.what, kind) {
            (What::Register { code, amount, parents }, "lot.registered") => {
                same(&data["code"], code)?;
                same(&data["quantity"]["value"], amount.value)?;
                same(&data["quantity"]["unit"], amount.unit)?;
                let from = parents.iter().filter_map(|(name, _)| self.lot(name)).map(|lot| lot.id).collect();
                self.register(id("lot_id")?, code, ("milk", from), amount, sequence)?;
                self.take(data, parents, sequence)?;
                Ok(id("lot_id")?.to_string())
            }
            (What::Judge { lot, outcome }, "qc_decision.recorded") => {
                same(&data["outcome"], outcome)?;
                let found = self.lot(lot).map(|lot| lot.id).ok_or("an unknown lot was judged")?;
                same(&data["lot_id"], &found.to_string())?;
                self.apply_judged(found, outcome, id("decision_id")?)?;
                let judged = self.lots.iter_mut().find(|lot| lot.id == found).ok_or("a lot is gone")?;
                (judged.qc, judged.version) = ((*outcome).to_owned(), sequence);
                self.alerts.judged(found, "intake", id("decision_id")?, outcome);
                Ok(id("decision_id")?.to_string())
            }
            (What::Transform(asked), "lot.transformed") => {
                self.apply_transform(asked, data, sequence)?;
                Ok(id("transformation_id")?.to_string())
            }
            (What::Take { lot, how, amount }, kind) if kind == of(how) => {
                self.apply_take((lot, how, amount.as_ref()), data, sequence)?;
                Ok(id("lot_id")?.to_string())
            }
            (What::Declare { name }, "signal.declared") => {
                same(&data["name"], name)?;
                self.signals.push((name.clone(), sequence));
                let number = data["number"].as_u64();
                if number != Some(self.signals.len() as u64) {
                    return Err(format!("signal {name} has number {number:?}, {} was due", self.signals.len()));
                }
                Ok(name.clone())
            }
            (What::SeeTo { alert, how }, _) => {
                same(&data["alert_id"], &alert.to_string())?;
                same(&data["by"], &ask.actor)?;
                self.alerts.seen_to(*alert, how, kind, sequence)?;
                Ok(alert.to_string())
            }
            (What::Process(process), _) => {
                let lot = self.lot_of(process);
                let subject = self.processes.apply(process, lot, kind, data, sequence)?;
                if let Process::Decide { outcome, .. } = process {
                    self.alerts.judged(id("run_id")?, "heat", id("decision_id")?, outcome);
                }
                Ok(subject)
            }
            (What::Dock(asked), kind) => self.apply_at_the_dock(asked, kind, data, sequence),
            (What::Hold(asked), _) => self.apply_hold(asked, kind, data, sequence),
            (What::Draft { .. } | What::Revise { .. } | What::Publish { .. } | What::Archive { .. }, _) => {
                self.apply_pipeline(ask, kind, value, sequence)?;
                Ok(id("pipeline_id")?.to_string())
            }
            (what, kind) => Err(format!("{what:?} led to {kind}")),
        }
    }

    fn register(
        &mut self,
        id: Uuid,
        code: &str,
        (product, parents): (&'static str, Vec<Uuid>),
        amount: &Amount,
        version: u64,
    ) -> Result<(), String> {
        if self.lots.iter().any(|lot| lot.id == id) {
            return Err(format!("lot {id} was registered twice"));
        }
        let ((dimension, left), unit) = (measure(amount.value, amount.unit).map_err(str::to_owned)?, amount.unit);
        let (code, qc) = (code.to_owned(), String::new());
        self.lots.push(Lot { id, code, dimension, unit, product, left, qc, version, parents });
        Ok(())
    }

    fn take(&mut self, data: &Value, parents: &[(LotName, Amount)], version: u64) -> Result<(), String> {
        let inputs = data["parents"].as_array().cloned().unwrap_or_default();
        if inputs.len() != parents.len() {
            return Err(format!("{} parents were asked for, {} recorded", parents.len(), inputs.len()));
        }
        for (input, (name, amount)) in inputs.iter().zip(parents) {
            let parent = self.lot(name).map(|lot| lot.id).ok_or("an unknown lot became a parent")?;
            same(&input["lot_id"], &parent.to_string())?;
            same(&input["quantity"]["value"], amount.value)?;
            same(&input["quantity"]["unit"], amount.unit)?;
            let (_, parts) = measure(amount.value, amount.unit).map_err(str::to_owned)?;
            let lot = self.lots.iter_mut().find(|lot| lot.id == parent).ok_or("a lot is gone")?;
            lot.left -= parts;
            lot.version = version;
        }
        Ok(())
    }

    fn apply_pipeline(&mut self, ask: &Ask, kind: &str, value: &[u8], version: u64) -> Result<(), String> {
        let body: Value = serde_json::from_slice(value).map_err(|error| error.to_string())?;
        let data = &body["data"];
        let draft = || {
            let body: Body<'_> = serde_json::from_slice(value).map_err(|error| error.to_string())?;
            Ok::<String, String>(body.data.definition.get().to_owned())
        };
        let own = match &ask.what {
            What::Revise { pipeline, .. } | What::Publish { pipeline } | What::Archive { pipeline } => {
                same(&data["pipeline_id"], &pipeline.to_string())?;
                self.pipelines.iter_mut().find(|known| known.id == *pipeline)
            }
            _ => None,
        };
        match (&ask.what, kind, own) {
            (What::Draft { name, graph }, "pipeline.drafted", _) => {
                same(&data["name"], name)?;
                same_graph(&data["definition"], graph)?;
                let id = data["pipeline_id"].as_str().and_then(|id| id.parse().ok()).ok_or("no pipeline_id")?;
                let (name, draft) = (name.clone(), draft()?);
                self.pipelines.push(Pipeline { id, name, draft, published: None, archived: false, version });
            }
            (What::Revise { name, graph, .. }, "pipeline.revised", Some(known)) => {
                same(&data["name"], name)?;
                same_graph(&data["definition"], graph)?;
                (known.name, known.draft, known.version) = (name.clone(), draft()?, version);
            }
            (What::Publish { .. }, "pipeline.published", Some(known)) => {
                let number = known.published.as_ref().map_or(1, |(number, _)| number + 1);
                same(&data["definition_hash"], &hex::encode(Sha256::digest(&known.draft)))?;
                if data["version"].as_u64() != Some(number) {
                    return Err(format!("version {} was published, {number} was due", data["version"]));
                }
                (known.published, known.version) = (Some((number, known.draft.clone())), version);
            }
            (What::Archive { .. }, "pipeline.archived", Some(known)) => {
                (known.archived, known.version) = (true, version);
            }
            (what, kind, _) => return Err(format!("{what:?} led to {kind}")),
        }
        Ok(())
    }
}

/// The event of each way of taking.
fn of(how: &str) -> &'static str {
    match how {
        "increase" | "decrease" => "lot.adjusted",
        "scrap" => "lot.scrapped",
        "sample" => "lot.sampled",
        _ => "lot.moved",
    }
}

fn same(found: &Value, expected: &str) -> Result<(), String> {
    if found.as_str() == Some(expected) { Ok(()) } else { Err(format!("{found} stands where '{expected}' was due")) }
}

fn same_graph(found: &Value, expected: &Graph) -> Result<(), String> {
    let texts = |list: &str, name: &str| -> Vec<String> {
        let items = found[list].as_array().into_iter().flatten();
        items.map(|item| item[name].as_str().unwrap_or_default().to_owned()).collect()
    };
    let edges: Vec<_> = texts("edges", "from").into_iter().zip(texts("edges", "to")).collect();
    let same = texts("tasks", "id") == expected.tasks
        && edges.iter().map(|(from, to)| (from.as_str(), to.as_str())).eq(expected.edges.iter().copied());
    if same { Ok(()) } else { Err(format!("{found} stands where {expected:?} was due")) }
}

fn may_be(graph: &Graph) -> Option<&'static str> {
    if graph.tasks.is_empty() {
        return Some("EMPTY_PIPELINE");
    }
    let twice = graph.tasks.iter().enumerate().any(|(at, task)| graph.tasks[..at].contains(task));
    if twice {
        return Some("DUPLICATE_TASK");
    }
    let known = |task: &str| graph.tasks.contains(&task);
    if graph.edges.iter().any(|(from, to)| !known(from) || !known(to)) {
        return Some("UNKNOWN_TASK");
    }
    // Following edges for longer than there are tasks can only be going round in a circle.
    let mut reached = graph.tasks.clone();
    for _ in 0..graph.tasks.len() {
        reached = graph.edges.iter().filter(|(from, _)| reached.contains(from)).map(|(_, to)| *to).collect();
    }
    if reached.is_empty() { None } else { Some("TASK_CYCLE") }
}

/// Dimension and parts of a base unit.
fn measure(value: &str, unit: &str) -> Result<(&'static str, i128), &'static str> {
    let (dimension, factor) = match unit {
        "KGM" => ("mass", PARTS / 1_000_000),
        "GRM" => ("mass", PARTS / 1_000_000_000),
        "MGM" => ("mass", PARTS / 1_000_000_000_000),
        "TNE" => ("mass", PARTS / 1_000),
        "LBR" => ("mass", 45_359_237),
        "LTR" => ("volume", PARTS / 1_000_000),
        "C62" => ("count", PARTS / 1_000_000),
        _ => return Err("UNKNOWN_UNIT"),
    };
    let negative = value.starts_with('-');
    let (whole, part) = value.trim_start_matches('-').split_once('.').unwrap_or((value.trim_start_matches('-'), ""));
    let digits = format!("{whole}{part:0<6}");
    let Ok(millionths) = digits.parse::<i128>() else { return Err("QUANTITY_NOT_DECIMAL") };
    if negative || millionths == 0 {
        return Err("QUANTITY_NOT_POSITIVE");
    }
    if part.len() > 6 || whole.len() > 12 {
        return Err("QUANTITY_OUT_OF_RANGE");
    }
    Ok((dimension, millionths * factor))
}
