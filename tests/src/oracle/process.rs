//! Processes: scenarios and runs as their events have made them.

use serde_json::{Value, json};

use super::{Event, Oracle, decimal, text};

impl Oracle {
    pub(super) fn scenario(&mut self, kind: &str, event: &Event<'_>) {
        let (id, data) = (event.text("scenario_id"), event.data());
        if kind == "lotline.scenario.drafted.v1" {
            let row = json!({
                "name": data["name"], "draft": data["definition"], "published": null, "hash": null, "retired": false, "actor": event.actor,
                "occurred": event.body["occurred_at"], "decided": event.time, "changed": event.time, "version": event.sequence,
            });
            assert!(self.world.scenarios.insert(id, row).is_none(), "a scenario was drafted twice");
            return;
        }
        let scenario = self.world.scenarios.get_mut(&id).expect("a scenario is drafted first");
        assert_eq!(scenario["retired"], false, "a retired scenario changed");
        (scenario["changed"], scenario["version"]) = (json!(event.time), json!(event.sequence));
        match kind {
            "lotline.scenario.revised.v1" => {
                (scenario["name"], scenario["draft"]) = (data["name"].clone(), data["definition"].clone());
            }
            "lotline.scenario.published.v1" => {
                let row = json!({
                    "name": scenario["name"], "definition": scenario["draft"], "hash": data["definition_hash"], "reason": event.body["reason"],
                    "actor": event.actor, "occurred": event.body["occurred_at"], "decided": event.time, "sequence": event.sequence,
                });
                (scenario["published"], scenario["hash"]) = (data["version"].clone(), data["definition_hash"].clone());
                self.world.scenario_versions.insert(format!("{id}/{}", data["version"]), row);
            }
            "lotline.scenario.retired.v1" => scenario["retired"] = json!(true),
            other => panic!("the oracle does not know {other}"),
        }
    }

    pub(super) fn run(&mut self, kind: &str, event: &Event<'_>) {
        let (id, data) = (event.text("run_id"), event.data());
        let happened = event.body["occurred_at"].clone();
        if kind == "lotline.run.started.v1" {
            let version = format!("{}/{}", event.text("scenario_id"), data["scenario_version"]);
            if let Some(published) = self.world.scenario_versions.get(&version) {
                assert_eq!(data["definition"], published["definition"], "a run keeps what was published");
            }
            let taken = self.world.runs.values().any(|run| run["code"] == data["code"] && run["site"] == event.stream);
            assert!(!taken, "a run code was given twice");
            let row = json!({
                "site": event.stream, "code": data["code"], "scenario": data["scenario_id"], "scenario_name": data["scenario_name"],
                "scenario_version": data["scenario_version"], "definition": data["definition"], "stage": "running", "phase": 0,
                "since": happened, "held": null, "ended": null, "why": null, "summary": null, "last": happened, "actor": event.actor,
                "occurred": happened, "decided": event.time, "changed": event.time, "version": event.sequence,
            });
            assert!(self.world.runs.insert(id.clone(), row).is_none(), "a run was started twice");
            self.entered(&id, 0, &happened, event);
            self.linked(&id, 0, data, event);
            return;
        }
        let run = self.world.runs.get_mut(&id).expect("a run is started first");
        assert!(run["stage"] == "running" || run["stage"] == "held", "a run that is over changed");
        // RFC 3339 in UTC with as many digits each time: the order of the texts is that of the times.
        let last = if happened.as_str() > run["last"].as_str() { happened.clone() } else { run["last"].clone() };
        (run["last"], run["changed"], run["version"]) = (last.clone(), json!(event.time), json!(event.sequence));
        match kind {
            "lotline.run.phase_advanced.v1" => {
                assert_eq!(run["phase"], data["from_phase"], "a phase was left that the run was not in");
                (run["phase"], run["since"]) = (data["to_phase"].clone(), last.clone());
                self.assert_gates_passed(&id, &data["from_phase"]);
                self.left(&id, &data["from_phase"], &last);
                let to = data["to_phase"].as_u64().expect("a phase is a number");
                self.entered(&id, to, &last, event);
                self.linked(&id, to, data, event);
            }
            "lotline.run.held.v1" => {
                (run["stage"], run["held"], run["why"]) = (json!("held"), last, event.body["reason"].clone());
            }
            "lotline.run.resumed.v1" => {
                (run["stage"], run["held"], run["why"]) = (json!("running"), json!(null), json!(null));
            }
            "lotline.run.completed.v1" | "lotline.run.aborted.v1" => {
                let done = kind == "lotline.run.completed.v1";
                run["stage"] = json!(if done { "completed" } else { "aborted" });
                (run["held"], run["ended"], run["why"]) = (json!(null), last.clone(), event.body["reason"].clone());
                run["summary"] = data["summary"].clone();
                let phase = run["phase"].clone();
                if done {
                    self.assert_gates_passed(&id, &phase);
                }
                self.left(&id, &phase, &last);
            }
            "lotline.run.lot_linked.v1" => {
                let key = format!("{id}/{}/{}", event.text("lot_id"), data["phase"]);
                self.world.run_lots.insert(key, lot_row(&data["quantity"], event));
            }
            "lotline.run.lot_unlinked.v1" => {
                let prefix = format!("{id}/{}/", event.text("lot_id"));
                self.world.run_lots.retain(|key, _| !key.starts_with(&prefix));
            }
            "lotline.run.gate_decided.v1" => self.gate_decided(&id, event),
            other => panic!("the oracle does not know {other}"),
        }
    }

    fn entered(&mut self, run: &str, phase: u64, at: &Value, event: &Event<'_>) {
        let row = json!({
            "site": event.stream, "entered": at, "left": null, "actor": event.actor, "decided": event.time, "sequence": event.sequence,
        });
        assert!(self.world.run_phases.insert(format!("{run}/{phase}"), row).is_none(), "a phase was entered twice");
    }

    fn left(&mut self, run: &str, phase: &Value, at: &Value) {
        let row = self.world.run_phases.get_mut(&format!("{run}/{phase}")).expect("a phase is entered first");
        row["left"] = at.clone();
    }

    /// Lots that a phase registers.
    fn linked(&mut self, run: &str, phase: u64, data: &Value, event: &Event<'_>) {
        for lot in data["lots"].as_array().into_iter().flatten() {
            let id = text(lot, "lot_id");
            assert!(self.world.lots.contains_key(&id), "a lot belongs to a run before it is registered");
            self.world.run_lots.insert(format!("{run}/{id}/{phase}"), lot_row(&lot["quantity"], event));
        }
    }

    fn gate_decided(&mut self, run: &str, event: &Event<'_>) {
        let data = event.data();
        if let Some(lot) = data["lot_id"].as_str() {
            let own = self.world.decisions.get(&event.text("decision_id")).expect("the lot's own decision comes first");
            assert_eq!((own["lot"].as_str(), &own["outcome"]), (Some(lot), &data["outcome"]));
        }
        let list = |name: &str| data.get(name).cloned().unwrap_or_else(|| json!([]));
        let row = json!({
            "run": run, "gate": data["gate"], "lot": data["lot_id"], "outcome": data["outcome"], "replaces": data["replaces"],
            "measurements": list("measurements"), "checklist": list("checklist"), "notes": data["notes"], "reason": event.body["reason"],
            "actor": event.actor, "occurred": event.body["occurred_at"], "decided": event.time, "sequence": event.sequence,
        });
        let before = self.world.run_decisions.insert(event.text("decision_id"), row);
        assert!(before.is_none(), "a gate's decision was recorded twice");
    }

    /// The last decision at each blocking gate up to a phase is a PASS, of the run or of each lot in the phase before it.
    fn assert_gates_passed(&self, run: &str, phase: &Value) {
        let definition = &self.world.runs[run]["definition"];
        for gate in definition["gates"].as_array().into_iter().flatten() {
            if gate["blocking"] != true || gate["after_phase"].as_u64() > phase.as_u64() {
                continue;
            }
            let last = |lot: Option<&str>, since: u64| {
                let of = |row: &&Value| row["run"] == run && row["gate"] == gate["key"] && row["lot"].as_str() == lot;
                let later =
                    self.world.run_decisions.values().filter(of).filter(|row| row["sequence"].as_u64() > Some(since));
                later.max_by_key(|row| row["sequence"].as_u64()).map(|row| row["outcome"].clone())
            };
            if gate["judges"] == "run" {
                assert_eq!(last(None, 0), Some(json!("PASS")), "run {run} went past gate {}", gate["key"]);
                continue;
            }
            let place = format!("/{}", gate["after_phase"]);
            let here = self.world.run_lots.keys().filter(|key| key.starts_with(run) && key.ends_with(&place));
            let here: Vec<&str> = here.filter_map(|key| key.split('/').nth(1)).collect();
            assert!(!here.is_empty(), "run {run} went past gate {} without a lot", gate["key"]);
            for lot in here {
                let own = format!("{run}/{lot}/");
                let links = self.world.run_lots.iter().filter(|(key, _)| key.starts_with(&own));
                let since = links.filter_map(|(_, row)| row["sequence"].as_u64()).min().unwrap_or(0);
                let outcome = last(Some(lot), since);
                assert_eq!(outcome, Some(json!("PASS")), "run {run} went past gate {} with lot {lot}", gate["key"]);
            }
        }
    }
}

fn lot_row(quantity: &Value, event: &Event<'_>) -> Value {
    json!({
        "quantity": decimal(&quantity["value"]), "unit": quantity["unit"], "actor": event.actor, "occurred": event.body["occurred_at"],
        "sequence": event.sequence,
    })
}
