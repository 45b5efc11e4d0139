//! Alerts, as their events make them.

use serde_json::{Value, json};

use super::{Event, Oracle};

impl Oracle {
    pub(super) fn alert(&mut self, kind: &str, event: &Event<'_>) {
        let (id, data, at) = (event.text("alert_id"), event.data(), event.body["occurred_at"].clone());
        if kind == "lotline.alert.raised.v1" {
            let twin = |row: &Value| {
                row["status"] != "resolved"
                    && row["kind"] == data["kind"]
                    && row["lot"] == data["lot_id"]
                    && row["gate"] == data["gate"]
                    && (!data["lot_id"].is_null() || row["run"] == data["run_id"])
                    && row["site"] == event.stream
            };
            assert!(
                !self.world.alerts.values().any(twin),
                "there are two open alerts of one kind for one thing and gate"
            );
            if let Some(decision) = data["decision_id"].as_str() {
                let (lots, runs) = (&self.world.decisions, &self.world.run_decisions);
                assert!(
                    lots.contains_key(decision) || runs.contains_key(decision),
                    "an alert of a decision comes after it"
                );
            }
            let row = json!({
                "site": event.stream, "kind": data["kind"], "severity": data["severity"], "level": data["level"], "status": "open",
                "title": data["title"], "lot": data["lot_id"], "run": data["run_id"], "gate": data["gate"],
                "decision": data["decision_id"], "expires": data["expires_on"], "escalates": data["escalates_at"],
                "acknowledged_by": null, "acknowledged": null, "note": null, "resolved_by": null, "resolved": null,
                "by_itself": false, "resolution": null, "actor": event.actor, "occurred": at, "decided": event.time,
                "changed": event.time, "version": event.sequence,
            });
            assert!(self.world.alerts.insert(id, row).is_none(), "an alert was raised twice");
            return;
        }
        let alert = self.world.alerts.get_mut(&id).expect("an alert is raised first");
        assert_ne!(alert["status"], "resolved", "a resolved alert changed");
        (alert["changed"], alert["version"]) = (json!(event.time), json!(event.sequence));
        match kind {
            "lotline.alert.acknowledged.v1" => {
                assert_eq!(alert["status"], "open", "an alert was acknowledged twice");
                assert_eq!(data["by"], event.actor.as_str());
                (alert["status"], alert["acknowledged_by"]) = (json!("acknowledged"), data["by"].clone());
                (alert["acknowledged"], alert["note"], alert["escalates"]) = (at, data["note"].clone(), Value::Null);
            }
            "lotline.alert.escalated.v1" => {
                assert_eq!(alert["level"], data["from_level"]);
                for name in ["acknowledged_by", "acknowledged", "note"] {
                    alert[name] = Value::Null;
                }
                (alert["status"], alert["level"]) = (json!("open"), data["level"].clone());
                alert["escalates"] = data["escalates_at"].clone();
                for (name, field) in [("severity", "severity"), ("title", "title"), ("decision", "decision_id")] {
                    if !data[field].is_null() {
                        alert[name] = data[field].clone();
                    }
                }
            }
            "lotline.alert.resolved.v1" => {
                assert_eq!(data["by"], event.actor.as_str());
                let by_itself = data["by_itself"] == true;
                (alert["status"], alert["resolved_by"]) = (json!("resolved"), data["by"].clone());
                (alert["resolved"], alert["by_itself"], alert["escalates"]) = (at, json!(by_itself), Value::Null);
                alert["resolution"] = if by_itself { Value::Null } else { event.body["reason"].clone() };
            }
            other => panic!("the oracle does not know {other}"),
        }
    }
}
