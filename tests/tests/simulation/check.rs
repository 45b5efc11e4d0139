//! Holds what was told against the log, and the log against the model.
//!
//! Records are read as what they are to a stranger: headers of text, values of JSON, and a hash over a frame that is built here again.

use std::collections::BTreeMap;

use lotline_domain::record::StoredRecord;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ask::{Ask, What};
use crate::client::Answer;
use crate::dock::Partner;
use crate::model::Stream;
use crate::process::Scenario;
use crate::world::Remains;

/// Refusals that another try of the same command need not get.
const PASSING: [&str; 11] = [
    "IDEMPOTENCY_KEY_REUSED",
    "VERSION_CONFLICT",
    "IDEMPOTENCY_KEY_TOO_OLD",
    "IDEMPOTENCY_KEY_FROM_FUTURE",
    "INVALID_IDEMPOTENCY_KEY",
    "UNKNOWN_SCENARIO",
    "SCENARIO_NOT_PUBLISHED",
    "SCENARIO_VERSION_SUPERSEDED",
    "UNKNOWN_PARTNER",
    "NO_SUPPLIER",
    "NO_CUSTOMER",
];

const WEEK: i64 = 7 * 24 * 3_600 * 1_000_000;
const FIVE_MINUTES: i64 = 300 * 1_000_000;

/// A command as the log knows it: stream, actor, id.
type Key = (String, String, Uuid);

/// What the log says of a command.
#[derive(Debug, Default)]
struct Logged {
    /// Subject, sequence, offset, and which of the asks under this id it may have been.
    accepted: Option<(String, u64, i64, Vec<usize>)>,
    /// The refusal that every later try gets.
    remembered: Option<String>,
    /// Code and message of every refusal, with its offset.
    refusals: Vec<(String, String, i64)>,
}

/// A record, read by hand.
struct Line<'a> {
    stored: &'a StoredRecord,
}

impl Line<'_> {
    fn header(&self, name: &str) -> Result<&str, String> {
        let found = self.stored.record.headers.iter().find(|header| header.name == name);
        let found = found.ok_or_else(|| format!("no {name} at offset {}", self.stored.offset))?;
        std::str::from_utf8(&found.value).map_err(|error| error.to_string())
    }

    fn number(&self, name: &str) -> Result<u64, String> {
        self.header(name)?.parse().map_err(|error| format!("{name}: {error}"))
    }

    fn time(&self) -> Result<i64, String> {
        let time = chrono::DateTime::parse_from_rfc3339(self.header("ce_time")?).map_err(|error| error.to_string())?;
        Ok(time.timestamp_micros())
    }

    fn key(&self) -> Result<Key, String> {
        let id = self.header("ce_causationid")?.parse().map_err(|error| format!("ce_causationid: {error}"))?;
        Ok((self.stored.record.key.clone(), self.header("ce_actor")?.to_owned(), id))
    }

    fn kind(&self) -> Result<&str, String> {
        Ok(self.header("ce_type")?.trim_start_matches("lotline.").trim_end_matches(".v1"))
    }

    /// The frame as `domain/src/envelope.rs` draws it.
    fn hash(&self) -> Result<String, String> {
        let record = &self.stored.record;
        let sized = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
        let covered: Vec<_> = record
            .headers
            .iter()
            .filter(|header| !["ce_prevhash", "ce_hash"].contains(&header.name.as_ref()))
            .collect();
        let mut hasher = Sha256::new();
        hasher.update(sized(record.key.as_bytes()));
        hasher.update(sized(&hex::decode(self.header("ce_prevhash")?).map_err(|error| error.to_string())?));
        hasher.update((covered.len() as u32).to_be_bytes());
        for header in covered {
            hasher.update(sized(header.name.as_bytes()));
            hasher.update(sized(&header.value));
        }
        hasher.update(sized(&record.value));
        Ok(hex::encode(hasher.finalize()))
    }
}

/// Where a stream's chain stands.
#[derive(Clone)]
struct Head {
    sequence: u64,
    hash: String,
    time: i64,
}

/// All that is checked of a world when it has ended.
///
/// # Errors
/// The first thing that is not as it must be.
pub(crate) fn check(remains: &Remains) -> Result<(), String> {
    let mut history = History { remains, logged: BTreeMap::new(), templates: BTreeMap::new() };
    // The tenant's first: what sites decide on is looked up in it.
    let tenants = remains.plan.partition("_tenant") as usize;
    let mut partitions: Vec<_> = remains.records.iter().enumerate().collect();
    partitions.sort_by_key(|(partition, _)| *partition != tenants);
    history.templates = templates(remains, &remains.records[tenants])?;
    for (partition, records) in partitions {
        history.partition(records).map_err(|wrong| format!("partition {partition}: {wrong}"))?;
    }
    for (index, answer) in &remains.book.told {
        history
            .told(*index, answer)
            .map_err(|wrong| format!("{wrong}\n  asked: {:?}\n  told: {answer:?}", remains.book.asks[*index]))?;
    }
    Ok(())
}

/// What sites decide on of the tenant's stream.
type Known = (Vec<Scenario>, Vec<Partner>);

struct History<'a> {
    remains: &'a Remains,
    logged: BTreeMap<Key, Logged>,
    /// What sites decide on, after each event of the tenant's stream.
    templates: BTreeMap<u64, Known>,
}

impl History<'_> {
    fn partition(&mut self, records: &[StoredRecord]) -> Result<(), String> {
        let mut heads: BTreeMap<&str, Head> = BTreeMap::new();
        let mut streams: BTreeMap<&str, Stream> = BTreeMap::new();
        let mut tenant_sequence = 0;
        for stored in records {
            let line = Line { stored };
            let key = stored.record.key.as_str();
            let fresh = || Head { sequence: 0, hash: "0".repeat(64), time: i64::MIN };
            let head = heads.entry(key).or_insert_with(fresh);
            let place =
                |wrong: String| format!("{key}, event {} at offset {}: {wrong}", head.sequence + 1, stored.offset);
            let next = admit(&line, head).map_err(place)?;
            if key != "_tenant" {
                let seen = line.number("ce_tenantsequence")?;
                if seen < tenant_sequence {
                    return Err(place(format!("decided on {seen} of the tenant's events after {tenant_sequence}")));
                }
                tenant_sequence = seen;
                let known = self.templates.range(..=seen).next_back();
                let stream = streams.entry(key).or_default();
                (stream.processes.scenarios, stream.partners) =
                    known.map(|(_, known)| known.clone()).unwrap_or_default();
            }
            self.event(&line, streams.entry(key).or_default()).map_err(place)?;
            *head = next;
        }
        streams.values().try_for_each(|stream| stream.alerts.settled())
    }

    fn event(&mut self, line: &Line<'_>, stream: &mut Stream) -> Result<(), String> {
        let kind = line.kind()?;
        if kind == "refusals.suppressed" {
            let counted = self.remains.plan.suppresses() && line.header("ce_actor")? == "lotline";
            return if counted { Ok(()) } else { Err("refusals were suppressed below the limit".to_owned()) };
        }
        let (key, time) = (line.key()?, line.time()?);
        if kind == "alert.raised" || kind == "alert.escalated" {
            return self.followed(line, &key, stream);
        }
        stream.alerts.settled()?;
        let asks = asks(self.remains, &key);
        if asks.is_empty() {
            return Err(format!("{kind} under {} was never asked for", key.2));
        }
        let known = self.logged.entry(key.clone()).or_default();
        let decided = known.accepted.is_some() || known.remembered.is_some();
        if kind == "command.refused" {
            let (code, message) = refusal(line)?;
            let right = match code.as_str() {
                "IDEMPOTENCY_KEY_REUSED" => decided && asks.len() > 1,
                "INVALID_IDEMPOTENCY_KEY" => key.2.get_version_num() != 7,
                "IDEMPOTENCY_KEY_TOO_OLD" => micros(key.2) < time - WEEK,
                "IDEMPOTENCY_KEY_FROM_FUTURE" => micros(key.2) > time + FIVE_MINUTES,
                code => !decided && asks.iter().any(|(_, ask)| stream.verdict(ask, time) == Some(code)),
            };
            if !right {
                let verdicts: Vec<_> = asks.iter().map(|(_, ask)| (ask, stream.verdict(ask, time))).collect();
                return Err(format!(
                    "refused with {code} ('{message}'), decided before: {decided}, the model says {verdicts:?}"
                ));
            }
            if !PASSING.contains(&code.as_str()) {
                known.remembered = Some(code.clone());
            }
            known.refusals.push((code, message, line.stored.offset));
            return Ok(());
        }
        if decided {
            return Err(format!("{kind}: the command {key:?} was decided before: {known:?}"));
        }
        if key.2.get_version_num() != 7 || micros(key.2) > time + FIVE_MINUTES {
            return Err(format!("{kind}: the key {} must not be accepted", key.2));
        }
        let sequence = line.number("ce_sequence")?;
        if before_a_decision(&asks, line, stream)? {
            return Ok(());
        }
        let (mut wrong, mut right, mut after) = (Vec::new(), Vec::new(), None);
        for (index, ask) in asks {
            if let Some(code) = stream.verdict(ask, time) {
                wrong.push(format!("{code} was due for {ask:?}"));
                continue;
            }
            let mut next = stream.clone();
            match next.apply(ask, kind, &line.stored.record.value, sequence) {
                Ok(subject) => {
                    right.push(index);
                    after = Some((subject, next));
                }
                Err(other) => wrong.push(other),
            }
        }
        if let Some((subject, next)) = after {
            *stream = next;
            known.accepted = Some((subject, sequence, line.stored.offset, right));
            return Ok(());
        }
        Err(format!("{kind} is not legal: {}", wrong.join("; ")))
    }

    /// An alert follows its decision at once, under the same key.
    fn followed(&self, line: &Line<'_>, key: &Key, stream: &mut Stream) -> Result<(), String> {
        let (kind, sequence) = (line.kind()?, line.number("ce_sequence")?);
        let decided = self.logged.get(key).and_then(|logged| logged.accepted.as_ref()).map(|(_, decided, ..)| *decided);
        if decided.map(|decided| decided + 1) != Some(sequence) {
            return Err(format!("{kind} does not follow a decision"));
        }
        stream.alerts.apply(kind, &line.stored.record.value, sequence)
    }

    fn told(&self, index: usize, answer: &Answer) -> Result<(), String> {
        let ask = &self.remains.book.asks[index];
        let key = (ask.stream.clone(), ask.actor.clone(), ask.id);
        let nothing = Logged::default();
        let logged = self.logged.get(&key).unwrap_or(&nothing);
        match answer {
            Answer::Accepted { subject, version, next } => match &logged.accepted {
                None => Err("an acceptance was told that is not in the log".to_owned()),
                Some((logged_subject, sequence, offset, by)) => {
                    let same = logged_subject == subject && sequence == version && offset < next;
                    let own = by.contains(&index);
                    if same && own { Ok(()) } else { Err(format!("the log says otherwise: {logged:?}")) }
                }
            },
            Answer::Refused { code, message, next } => {
                let is_it = |found: &(String, String, i64)| found.0 == *code && found.1 == *message && found.2 < *next;
                if logged.refusals.iter().any(is_it) || self.remains.plan.suppresses() {
                    return Ok(());
                }
                Err(format!("a refusal was told that is not in the log: {logged:?}"))
            }
        }
    }
}

/// Whether the event is what a decision on a lot does to holds, which stands before the decision.
fn before_a_decision(asks: &[(usize, &Ask)], line: &Line<'_>, stream: &mut Stream) -> Result<bool, String> {
    let (kind, sequence) = (line.kind()?, line.number("ce_sequence")?);
    if let Some((_, ask)) = asks.iter().find(|(_, ask)| matches!(ask.what, What::Judge { .. }))
        && kind.starts_with("hold.")
    {
        return stream.begin(ask, kind, &line.stored.record.value, sequence).map(|()| true);
    }
    match stream.parts.last() {
        Some((kind, _, last)) if last + 1 != sequence => Err(format!("{kind} was not followed by its decision")),
        Some(_) | None => Ok(false),
    }
}

/// Scenarios and partners as the tenant's stream alone makes them. What is illegal in it is found when it is checked.
fn templates(remains: &Remains, records: &[StoredRecord]) -> Result<BTreeMap<u64, Known>, String> {
    let mut found = BTreeMap::new();
    let mut stream = Stream::default();
    for stored in records.iter().filter(|stored| stored.record.key == "_tenant") {
        let line = Line { stored };
        let (kind, sequence) = (line.kind()?, line.number("ce_sequence")?);
        if !kind.starts_with("scenario.") && kind != "partner.defined" {
            continue;
        }
        for (_, ask) in asks(remains, &line.key()?) {
            let mut next = stream.clone();
            if next.apply(ask, kind, &stored.record.value, sequence).is_ok() {
                stream = next;
                break;
            }
        }
        found.insert(sequence, (stream.processes.scenarios.clone(), stream.partners.clone()));
    }
    Ok(found)
}

/// Everything that was asked under a key; more than one only by clients that use a key twice.
fn asks<'a>(remains: &'a Remains, key: &Key) -> Vec<(usize, &'a Ask)> {
    let all = remains.book.asks.iter().enumerate();
    all.filter(|(_, ask)| ask.id == key.2 && ask.stream == key.0 && ask.actor == key.1).collect()
}

/// Dense, chained, unchanged, and never back in time.
fn admit(line: &Line<'_>, head: &Head) -> Result<Head, String> {
    let (sequence, time) = (line.number("ce_sequence")?, line.time()?);
    if sequence != head.sequence + 1 {
        return Err(format!("sequence {sequence} is not dense"));
    }
    if line.header("ce_prevhash")? != head.hash {
        return Err("it does not follow its predecessor's hash".to_owned());
    }
    let hash = line.hash()?;
    if line.header("ce_hash")? != hash {
        return Err("its hash is not that of its bytes".to_owned());
    }
    if time < head.time {
        return Err(format!("decided at {time}, before its predecessor at {}", head.time));
    }
    Ok(Head { sequence, hash, time })
}

fn refusal(line: &Line<'_>) -> Result<(String, String), String> {
    let body: serde_json::Value =
        serde_json::from_slice(&line.stored.record.value).map_err(|error| error.to_string())?;
    let text = |name: &str| body["data"][name].as_str().unwrap_or_default().to_owned();
    Ok((text("code"), text("message")))
}

fn micros(id: Uuid) -> i64 {
    (id.as_u128() >> 80) as i64 * 1_000
}
