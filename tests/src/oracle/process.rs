//! Processes: scenarios as their events have made them.

use serde_json::json;

use super::{Event, Oracle};

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
}
