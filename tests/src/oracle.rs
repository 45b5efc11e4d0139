//! What the read models must say, computed from the raw records of a log.
//!
//! It shares no code with the domain's decoding or with projections: headers are read as text, values as loose JSON, and the chain is
//! recomputed by hand. Everything is kept as text so that a difference prints as one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lotline_domain::port::LogRead;
use lotline_domain::record::StoredRecord;
use rust_decimal::Decimal;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

/// Everything that is compared, as text by key.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct World {
    /// Lot id → code, what is left, verdict, version.
    pub lots: BTreeMap<String, String>,
    /// Child, parent, amount in base units.
    pub edges: BTreeSet<String>,
    /// Decision id → lot, gate, outcome.
    pub decisions: BTreeMap<String, String>,
    /// Pipeline id → name, newest version, archived or not.
    pub pipelines: BTreeMap<String, String>,
    /// Site and name → number.
    pub signals: BTreeMap<String, String>,
    /// Stream and sequence → type and actor.
    pub audit: BTreeMap<String, String>,
}

/// A fold over a whole log.
#[derive(Debug, Default)]
pub struct Oracle {
    /// What the read models must say.
    pub world: World,
    /// Command id → how many decisions it led to. More than one event of one command would be a doubled fact.
    pub commands: BTreeMap<String, u32>,
    lots: BTreeMap<String, Lot>,
    heads: BTreeMap<String, (u64, String)>,
}

#[derive(Debug)]
struct Lot {
    code: String,
    remaining: Decimal,
    qc: String,
    version: u64,
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
        for (id, lot) in &oracle.lots {
            let line = format!("{} left={} qc={} v={}", lot.code, lot.remaining.normalize(), lot.qc, lot.version);
            oracle.world.lots.insert(id.clone(), line);
        }
        oracle
    }

    /// Last sequence and hash of each stream.
    pub fn heads(&self) -> &BTreeMap<String, (u64, String)> {
        &self.heads
    }

    fn apply(&mut self, stored: &StoredRecord) {
        let stream = stored.record.key.clone();
        let header = |name: &str| -> String {
            let found = stored.record.headers.iter().find(|header| header.name == name);
            found.map(|header| String::from_utf8(header.value.to_vec()).expect("headers are text")).unwrap_or_default()
        };
        let sequence: u64 = header("ce_sequence").parse().expect("the sequence is a number");
        let (last, last_hash) = self.heads.get(&stream).cloned().unwrap_or((0, "0".repeat(64)));
        assert_eq!(sequence, last + 1, "stream {stream} is not dense");
        assert_eq!(header("ce_prevhash"), last_hash, "stream {stream} is not chained at {sequence}");
        assert_eq!(recomputed_hash(stored), header("ce_hash"), "stream {stream} was changed at {sequence}");
        self.heads.insert(stream.clone(), (sequence, header("ce_hash")));

        let kind = header("ce_type");
        let body: Value = serde_json::from_slice(&stored.record.value).expect("values are JSON");
        let data = &body["data"];
        self.world.audit.insert(format!("{stream}/{sequence}"), format!("{kind} by {}", header("ce_actor")));
        *self.commands.entry(format!("{}/{}", header("ce_actor"), header("ce_causationid"))).or_default() += 1;
        match kind.as_str() {
            "lotline.lot.registered.v1" => self.lot_registered(data, sequence),
            "lotline.qc_decision.recorded.v1" => self.decided(data, sequence),
            "lotline.pipeline.drafted.v1" => {
                self.world.pipelines.insert(text(data, "pipeline_id"), format!("{} v0 live", text(data, "name")));
            }
            "lotline.pipeline.revised.v1" => self.pipeline(data, |line, data| {
                let rest = line.rsplitn(3, ' ').collect::<Vec<_>>();
                format!("{} {} {}", text(data, "name"), rest[1], rest[0])
            }),
            "lotline.pipeline.published.v1" => self.pipeline(data, |line, data| {
                let rest = line.rsplitn(3, ' ').collect::<Vec<_>>();
                format!("{} v{} {}", rest[2], data["version"], rest[0])
            }),
            "lotline.pipeline.archived.v1" => self.pipeline(data, |line, _| line.replace(" live", " archived")),
            "lotline.signal.declared.v1" => {
                self.world.signals.insert(format!("{stream}/{}", text(data, "name")), data["number"].to_string());
            }
            // What was refused is no state of the plant, and neither is what read models were told to do, who may do what,
            // or what happened at the door.
            "lotline.command.refused.v1"
            | "lotline.refusals.suppressed.v1"
            | "lotline.projection.retried.v1"
            | "lotline.projection.event_skipped.v1"
            | "lotline.access.signed_in.v1"
            | "lotline.access.signed_out.v1"
            | "lotline.access.trail_read.v1"
            | "lotline.access.attempts_refused.v1"
            | "lotline.site.registered.v1"
            | "lotline.user.registered.v1"
            | "lotline.user.profile_changed.v1"
            | "lotline.user.deactivated.v1"
            | "lotline.user.reactivated.v1"
            | "lotline.membership.changed.v1"
            | "lotline.admin.appointed.v1"
            | "lotline.api_key.issued.v1"
            | "lotline.api_key.revoked.v1"
            | "lotline.pipeline.access_set.v1" => {}
            other => panic!("the oracle does not know {other}"),
        }
    }

    fn lot_registered(&mut self, data: &Value, version: u64) {
        let id = text(data, "lot_id");
        for input in data["parents"].as_array().into_iter().flatten() {
            let parent = text(input, "lot_id");
            let amount = base(&input["quantity"]);
            let lot = self.lots.get_mut(&parent).expect("a parent is registered before its child");
            lot.remaining -= amount;
            assert!(lot.remaining >= Decimal::ZERO, "more was taken out of {parent} than was in it");
            assert!(lot.qc != "HOLD" && lot.qc != "FAIL", "a blocked lot became a parent");
            lot.version = version;
            self.world.edges.insert(format!("{id} from {parent}: {}", amount.normalize()));
        }
        let lot = Lot { code: text(data, "code"), remaining: base(&data["quantity"]), qc: "-".into(), version };
        assert!(self.lots.insert(id, lot).is_none(), "a lot was registered twice");
    }

    fn decided(&mut self, data: &Value, version: u64) {
        let lot_id = text(data, "lot_id");
        let lot = self.lots.get_mut(&lot_id).expect("a decision is about a registered lot");
        lot.qc = text(data, "outcome");
        lot.version = version;
        let line = format!("{lot_id} {} {}", text(data, "gate"), text(data, "outcome"));
        assert!(
            self.world.decisions.insert(text(data, "decision_id"), line).is_none(),
            "a decision was recorded twice"
        );
    }

    fn pipeline(&mut self, data: &Value, change: impl FnOnce(&str, &Value) -> String) {
        let line = self.world.pipelines.get_mut(&text(data, "pipeline_id")).expect("a pipeline is drafted first");
        *line = change(line, data);
    }
}

/// What the tables say, in the same form.
pub async fn tables(pool: &PgPool, tenant: &str) -> World {
    let pairs = |sql: &'static str| async move {
        let rows: Vec<(String, String)> =
            sqlx::query_as(sql).bind(tenant).fetch_all(pool).await.expect("the read models can be queried");
        rows
    };
    let lots = pairs(
        "SELECT id::text, code || ' left=' || trim_scale(remaining_base) || ' qc=' || COALESCE(qc_status, '-') || ' v=' || version \
         FROM read.lots WHERE tenant = $1",
    );
    let edges = pairs(
        "SELECT child_id || ' from ' || parent_id || ': ' || trim_scale(quantity_base), '' FROM read.genealogy WHERE tenant = $1",
    );
    let decisions =
        pairs("SELECT id::text, lot_id || ' ' || gate || ' ' || outcome FROM read.qc_decisions WHERE tenant = $1");
    let pipelines = pairs(
        "SELECT id::text, name || ' v' || COALESCE(published_version, 0) || CASE WHEN archived THEN ' archived' ELSE ' live' END \
         FROM read.pipelines WHERE tenant = $1",
    );
    let signals = pairs("SELECT site || '/' || name, number::text FROM read.signals WHERE tenant = $1");
    let audit =
        pairs("SELECT stream || '/' || sequence, event_type || ' by ' || actor FROM read.audit WHERE tenant = $1");
    World {
        lots: lots.await.into_iter().collect(),
        edges: edges.await.into_iter().map(|(edge, _)| edge).collect(),
        decisions: decisions.await.into_iter().collect(),
        pipelines: pipelines.await.into_iter().collect(),
        signals: signals.await.into_iter().collect(),
        audit: audit.await.into_iter().collect(),
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is missing in {value}")).to_owned()
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
