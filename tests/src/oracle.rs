//! What the read models must say, computed from the raw records of a log.
//!
//! It shares no code with the domain's decoding or with projections: headers are read as text, values as loose JSON, and the chain is
//! recomputed by hand. What the tables say is brought into the same form by SQL of its own (`tables`), so that a difference prints as one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lotline_domain::port::LogRead;
use lotline_domain::record::StoredRecord;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

mod alerts;
mod holds;
mod lots;
mod process;
mod tables;

pub use tables::tables;

/// Rows by key: each an object with all that the row says of the plant. Decimals are texts without zeros at the end, times UTC with six digits.
pub type Rows = BTreeMap<String, Value>;

/// Everything that is compared.
#[derive(Debug, Default, PartialEq)]
pub struct World {
    /// By lot id.
    pub lots: Rows,
    /// By child and parent.
    pub edges: Rows,
    /// By transformation id.
    pub transformations: Rows,
    /// By lot and sequence.
    pub stock_changes: Rows,
    /// By lot id.
    pub receipts: Rows,
    /// By shipment id.
    pub shipments: Rows,
    /// By shipment id and lot id.
    pub shipment_lots: Rows,
    /// By decision id.
    pub decisions: Rows,
    /// By pipeline id.
    pub pipelines: Rows,
    /// By pipeline id and version.
    pub versions: Rows,
    /// By site and number.
    pub signals: Rows,
    /// By product id.
    pub products: Rows,
    /// By partner id.
    pub partners: Rows,
    /// By stream and sequence.
    pub audit: Rows,
    /// By site id.
    pub sites: Rows,
    /// By user id.
    pub users: Rows,
    /// By user id and site; an empty site is everywhere.
    pub memberships: Rows,
    /// By key id.
    pub keys: Rows,
    /// By pipeline id and user id.
    pub grants: Rows,
    /// By scenario id.
    pub scenarios: Rows,
    /// By scenario id and version.
    pub scenario_versions: Rows,
    /// By run id.
    pub runs: Rows,
    /// By run id and phase.
    pub run_phases: Rows,
    /// By run id, lot id and phase.
    pub run_lots: Rows,
    /// By decision id.
    pub run_decisions: Rows,
    /// By alert id.
    pub alerts: Rows,
    /// By hold id.
    pub holds: Rows,
    /// By hold id and lot id.
    pub held_lots: Rows,
}

/// A fold over a whole log.
#[derive(Debug, Default)]
pub struct Oracle {
    /// What the read models must say.
    pub world: World,
    /// Command id → how many decisions it led to. More than one event of one command would be a doubled fact.
    pub commands: BTreeMap<String, u32>,
    remaining: BTreeMap<String, Decimal>,
    /// What was made from each lot.
    children: BTreeMap<String, Vec<String>>,
    /// Lot and hold, of those that are on one.
    held: BTreeSet<(String, String)>,
    heads: BTreeMap<String, (u64, String)>,
}

/// One event, as loosely as it can be read.
struct Event<'a> {
    stream: &'a str,
    sequence: u64,
    actor: String,
    /// When it was decided.
    time: String,
    body: Value,
}

impl Event<'_> {
    fn data(&self) -> &Value {
        &self.body["data"]
    }

    fn text(&self, name: &str) -> String {
        text(self.data(), name)
    }
}

impl Oracle {
    /// Reads a log from its beginning to its present end.
    ///
    /// # Panics
    /// When the chain is broken: that is what it is there to find.
    pub async fn read(log: &dyn LogRead) -> Self {
        let mut oracle = Self::default();
        for partition in 0..log.partitions() {
            let end = log.end(partition).await.expect("the log tells its end");
            let mut reader = log.reader(partition, 0).await.expect("the log can be read");
            let mut next = 0;
            while next < end {
                let batch = reader.read(1_000, Duration::from_secs(1)).await.expect("the log can be read");
                for stored in batch.records.iter().filter(|stored| stored.offset < end) {
                    oracle.apply(stored);
                }
                next = batch.next;
            }
        }
        for (id, left) in &oracle.remaining {
            let lot = oracle.world.lots.get_mut(id).expect("what is left is left of a lot");
            lot["remaining"] = json!(left.normalize().to_string());
        }
        oracle
    }

    /// Last sequence and hash of each stream.
    pub fn heads(&self) -> &BTreeMap<String, (u64, String)> {
        &self.heads
    }

    fn apply(&mut self, stored: &StoredRecord) {
        let stream = stored.record.key.as_str();
        let header = |name: &str| -> String {
            let found = stored.record.headers.iter().find(|header| header.name == name);
            found.map(|header| String::from_utf8(header.value.to_vec()).expect("headers are text")).unwrap_or_default()
        };
        let sequence: u64 = header("ce_sequence").parse().expect("the sequence is a number");
        let (last, last_hash) = self.heads.get(stream).cloned().unwrap_or((0, "0".repeat(64)));
        assert_eq!(sequence, last + 1, "stream {stream} is not dense");
        assert_eq!(header("ce_prevhash"), last_hash, "stream {stream} is not chained at {sequence}");
        assert_eq!(recomputed_hash(stored), header("ce_hash"), "stream {stream} was changed at {sequence}");
        self.heads.insert(stream.to_owned(), (sequence, header("ce_hash")));

        let body: Value = serde_json::from_slice(&stored.record.value).expect("values are JSON");
        let event = Event { stream, sequence, actor: header("ce_actor"), time: header("ce_time"), body };
        let causation = header("ce_causationid");
        *self.commands.entry(format!("{}/{causation}", event.actor)).or_default() += 1;
        let row = json!({
            "type": header("ce_type"), "subject": header("ce_subject"), "actor": event.actor, "occurred": event.body["occurred_at"],
            "decided": event.time, "reason": event.body["reason"], "correlation": header("ce_correlationid"), "causation": causation,
            "data": event.body["data"],
        });
        self.world.audit.insert(format!("{stream}/{sequence}"), row);
        match header("ce_type").as_str() {
            kind if kind.starts_with("lotline.lot.") => self.lots(kind, &event),
            "lotline.shipment.shipped.v1" => self.shipped(&event),
            "lotline.qc_decision.recorded.v1" => self.decided(&event),
            kind if kind.starts_with("lotline.pipeline.") && kind != "lotline.pipeline.access_set.v1" => {
                self.pipeline(kind, &event);
            }
            kind if kind.starts_with("lotline.scenario.") => self.scenario(kind, &event),
            kind if kind.starts_with("lotline.alert.") => self.alert(kind, &event),
            kind if kind.starts_with("lotline.run.") => self.run(kind, &event),
            kind if kind.starts_with("lotline.hold.") => self.hold(kind, &event),
            "lotline.signal.declared.v1" => self.declared(&event),
            // What was refused is no state of the plant, and neither is what read models were told to do, or what happened at the door.
            "lotline.command.refused.v1"
            | "lotline.refusals.suppressed.v1"
            | "lotline.projection.retried.v1"
            | "lotline.projection.event_skipped.v1"
            | "lotline.access.signed_in.v1"
            | "lotline.access.signed_out.v1"
            | "lotline.access.trail_read.v1"
            | "lotline.access.attempts_refused.v1" => {}
            // A definition says all of a thing.
            "lotline.product.defined.v1" => {
                let data = event.data();
                let row = json!({
                    "code": data["code"], "name": data["name"], "gtin": data["gtin"], "unit": data["unit"],
                    "conversions": data.get("conversions").cloned().unwrap_or_else(|| json!([])), "days": data["shelf_life_days"],
                    "active": data["active"], "actor": event.actor, "occurred": event.body["occurred_at"], "decided": event.time,
                    "version": event.sequence,
                });
                self.world.products.insert(event.text("product_id"), row);
            }
            "lotline.partner.defined.v1" => {
                let data = event.data();
                let row = json!({
                    "code": data["code"], "name": data["name"], "gln": data["gln"], "supplies": data["supplies"], "buys": data["buys"],
                    "active": data["active"], "actor": event.actor, "occurred": event.body["occurred_at"], "decided": event.time,
                    "version": event.sequence,
                });
                self.world.partners.insert(event.text("partner_id"), row);
            }
            kind => self.access(kind, &event),
        }
    }

    fn decided(&mut self, event: &Event<'_>) {
        let data = event.data();
        let lot = self.world.lots.get_mut(&event.text("lot_id")).expect("a decision is about a registered lot");
        (lot["qc"], lot["version"]) = (data["outcome"].clone(), json!(event.sequence));
        let list = |name: &str| data.get(name).cloned().unwrap_or_else(|| json!([]));
        let row = json!({
            "site": event.stream, "lot": data["lot_id"], "gate": data["gate"], "outcome": data["outcome"], "measurements": list("measurements"),
            "checklist": list("checklist"), "notes": data["notes"], "reason": event.body["reason"], "actor": event.actor,
            "occurred": event.body["occurred_at"], "decided": event.time, "sequence": event.sequence,
        });
        let before = self.world.decisions.insert(event.text("decision_id"), row);
        assert!(before.is_none(), "a decision was recorded twice");
    }

    fn pipeline(&mut self, kind: &str, event: &Event<'_>) {
        let (id, data) = (event.text("pipeline_id"), event.data());
        if kind == "lotline.pipeline.drafted.v1" {
            let row = json!({
                "name": data["name"], "draft": data["definition"], "published": null, "hash": null, "archived": false, "actor": event.actor,
                "occurred": event.body["occurred_at"], "decided": event.time, "changed": event.time, "version": event.sequence,
            });
            assert!(self.world.pipelines.insert(id, row).is_none(), "a pipeline was drafted twice");
            return;
        }
        let pipeline = self.world.pipelines.get_mut(&id).expect("a pipeline is drafted first");
        (pipeline["changed"], pipeline["version"]) = (json!(event.time), json!(event.sequence));
        match kind {
            "lotline.pipeline.revised.v1" => {
                (pipeline["name"], pipeline["draft"]) = (data["name"].clone(), data["definition"].clone());
            }
            "lotline.pipeline.published.v1" => {
                let row = json!({
                    "name": pipeline["name"], "definition": pipeline["draft"], "hash": data["definition_hash"], "reason": event.body["reason"],
                    "actor": event.actor, "occurred": event.body["occurred_at"], "decided": event.time, "sequence": event.sequence,
                });
                (pipeline["published"], pipeline["hash"]) = (data["version"].clone(), data["definition_hash"].clone());
                self.world.versions.insert(format!("{id}/{}", data["version"]), row);
            }
            "lotline.pipeline.archived.v1" => pipeline["archived"] = json!(true),
            other => panic!("the oracle does not know {other}"),
        }
    }

    fn declared(&mut self, event: &Event<'_>) {
        let data = event.data();
        let row = json!({
            "name": data["name"], "description": data["description"], "unit": data["unit"], "type": data["data_type"], "device": data["device"],
            "address": data["address"], "scale": decimal(&data["scale"]), "offset": decimal(&data["offset"]), "actor": event.actor,
            "occurred": event.body["occurred_at"], "decided": event.time, "version": event.sequence,
        });
        self.world.signals.insert(format!("{}/{}", event.stream, data["number"]), row);
    }

    /// Who may do what.
    fn access(&mut self, kind: &str, event: &Event<'_>) {
        let (data, sequence, world) = (event.data(), json!(event.sequence), &mut self.world);
        match kind {
            "lotline.site.registered.v1" => {
                let row = json!({ "name": data["name"], "time_zone": data["time_zone"], "actor": event.actor, "version": sequence });
                world.sites.insert(event.text("site"), row);
            }
            "lotline.user.registered.v1" => {
                let row = json!({
                    "name": data["name"], "email": data["email"], "active": true, "actor": event.actor, "changed": event.time,
                    "version": sequence,
                });
                world.users.insert(event.text("user_id"), row);
            }
            "lotline.user.profile_changed.v1" => {
                let user = world.touch(event);
                (user["name"], user["email"]) = (data["name"].clone(), data["email"].clone());
            }
            // What the link does is no fact of the ledger; that it was given is.
            "lotline.user.password_reset_issued.v1" => {
                world.touch(event);
            }
            "lotline.user.deactivated.v1" => world.touch(event)["active"] = json!(false),
            "lotline.user.reactivated.v1" => world.touch(event)["active"] = json!(true),
            "lotline.membership.changed.v1" | "lotline.admin.appointed.v1" => {
                world.touch(event);
                let key = format!("{}/{}", event.text("user_id"), data["site"].as_str().unwrap_or_default());
                world.memberships.remove(&key);
                if data["roles"] != json!([]) {
                    let row = json!({ "roles": data["roles"], "actor": event.actor, "sequence": sequence });
                    world.memberships.insert(key, row);
                }
            }
            "lotline.api_key.issued.v1" => {
                let row = json!({
                    "label": data["label"], "prefix": data["prefix"], "roles": data["roles"],
                    "sites": data.get("sites").cloned().unwrap_or_else(|| json!([])), "expires": data["expires_at"], "revoked": null,
                    "actor": event.actor, "version": sequence,
                });
                world.keys.insert(event.text("key_id"), row);
            }
            "lotline.api_key.revoked.v1" => {
                let key = world.keys.get_mut(&event.text("key_id")).expect("a key is issued first");
                (key["revoked"], key["version"]) = (json!(event.time), sequence);
            }
            "lotline.pipeline.access_set.v1" => {
                let key = format!("{}/{}", event.text("pipeline_id"), event.text("user_id"));
                world.grants.remove(&key);
                if data["rights"] != json!([]) {
                    let row = json!({ "rights": data["rights"], "actor": event.actor, "sequence": sequence });
                    world.grants.insert(key, row);
                }
            }
            other => panic!("the oracle does not know {other}"),
        }
    }
}

impl World {
    /// A user that an event changes.
    fn touch(&mut self, event: &Event<'_>) -> &mut Value {
        let user = self.users.get_mut(&event.text("user_id")).expect("a user is registered first");
        (user["changed"], user["version"]) = (json!(event.time), json!(event.sequence));
        user
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is missing in {value}")).to_owned()
}

/// A decimal without zeros at its end, or nothing.
fn decimal(value: &Value) -> Value {
    let Some(text) = value.as_str() else { return Value::Null };
    json!(text.parse::<Decimal>().expect("a decimal is one").normalize().to_string())
}

fn base(quantity: &Value) -> Decimal {
    let value: Decimal = text(quantity, "value").parse().expect("a quantity is a decimal");
    let factor = match text(quantity, "unit").as_str() {
        "KGM" | "LTR" | "C62" | "MTR" => "1",
        "GRM" | "MLT" | "MMT" => "0.001",
        "MGM" => "0.000001",
        "TNE" | "MTQ" => "1000",
        "HLT" => "100",
        "LBR" => "0.45359237",
        other => panic!("the oracle does not know the unit {other}"),
    };
    value * factor.parse::<Decimal>().expect("a factor is a decimal")
}

fn recomputed_hash(stored: &StoredRecord) -> String {
    let mut frame = Vec::new();
    let part = |frame: &mut Vec<u8>, bytes: &[u8]| {
        frame.extend(u32::try_from(bytes.len()).expect("a part is below 4 GiB").to_be_bytes());
        frame.extend(bytes);
    };
    let (mut previous, mut covered) = (Vec::new(), Vec::new());
    for header in &stored.record.headers {
        match header.name.as_ref() {
            "ce_prevhash" => previous = hex::decode(&header.value).expect("hashes are hex"),
            "ce_hash" => {}
            name => covered.push((name.as_bytes().to_vec(), header.value.to_vec())),
        }
    }
    part(&mut frame, stored.record.key.as_bytes());
    part(&mut frame, &previous);
    frame.extend(u32::try_from(covered.len()).expect("few headers").to_be_bytes());
    for (name, value) in covered {
        part(&mut frame, &name);
        part(&mut frame, &value);
    }
    part(&mut frame, &stored.record.value);
    hex::encode(Sha256::digest(frame))
}
