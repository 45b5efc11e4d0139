//! What clients were told, held against what the ledger says of the same commands, read from its raw records as an outsider would.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use lotline_domain::port::LogRead;
use lotline_domain::record::StoredRecord;
use serde_json::Value;

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Accepted; what came of it, such as `lot:<uuid>`.
    Made(String),
    /// Refused with this code.
    Refused(String),
    /// A fact that no operator asks for.
    Other(String),
}

/// What a client was told.
#[derive(Debug)]
pub(crate) struct Told {
    /// Actor and idempotency key, as `actor/key`.
    command: String,
    verdict: Verdict,
}

/// What to select beside the usual, so that [`Told::by`] can tell what was made.
pub(crate) fn made_by(mutation: &str) -> &'static str {
    match mutation {
        "registerLot" | "scrapLot" => "lotId",
        "splitLot" => "transformationId",
        "recordQcDecision" => "qcDecisionId",
        other => panic!("no operator sends {other}"),
    }
}

impl Told {
    /// Reads a payload.
    pub(crate) fn by(actor: &str, mutation: &str, input: &Value, payload: &Value) -> Self {
        let key = input["idempotencyKey"].as_str().unwrap();
        let refused = payload["userErrors"].as_array().unwrap().first();
        let made = payload[made_by(mutation)].as_str().map(|id| match mutation {
            "splitLot" => format!("transformation:{id}"),
            _ => String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(id).unwrap()).unwrap(),
        });
        let verdict = match (refused, made) {
            (Some(error), None) => Verdict::Refused(error["code"].as_str().unwrap().to_owned()),
            (None, Some(id)) => Verdict::Made(id),
            _ => panic!("{mutation} was neither accepted nor refused: {payload}"),
        };
        Self { command: format!("{actor}/{key}"), verdict }
    }
}

/// Each command that was answered stands in the log exactly once and as it was answered, and no other stands there twice. Gives how many were
/// refused.
pub(crate) async fn assert_as_told(ledger: &dyn LogRead, told: &[Told]) -> usize {
    let found = read(ledger).await;
    for Told { command, verdict } in told {
        let stands = found.get(command).map_or(&[][..], Vec::as_slice);
        assert_eq!(stands, std::slice::from_ref(verdict), "the log does not say of {command} what its client was told");
    }
    assert!(found.values().all(|verdicts| verdicts.len() == 1), "a command was decided twice");
    told.iter().filter(|told| matches!(told.verdict, Verdict::Refused(_))).count()
}

async fn read(ledger: &dyn LogRead) -> BTreeMap<String, Vec<Verdict>> {
    let mut found: BTreeMap<String, Vec<Verdict>> = BTreeMap::new();
    for partition in 0..ledger.partitions() {
        let end = ledger.end(partition).await.unwrap();
        let mut reader = ledger.reader(partition, 0).await.unwrap();
        let mut next = 0;
        while next < end {
            let batch = reader.read(1_000, Duration::from_secs(1)).await.unwrap();
            for stored in batch.records.iter().filter(|stored| stored.offset < end) {
                if let Some((command, verdict)) = decided(stored) {
                    found.entry(command).or_default().push(verdict);
                }
            }
            next = batch.next;
        }
    }
    found
}

/// Nothing for what a decision brings: to holds before it, to alerts after it.
fn decided(stored: &StoredRecord) -> Option<(String, Verdict)> {
    let header = |name: &str| {
        let found = stored.record.headers.iter().find(|header| header.name == name).unwrap();
        String::from_utf8(found.value.to_vec()).unwrap()
    };
    let body: Value = serde_json::from_slice(&stored.record.value).unwrap();
    let text = |name: &str| body["data"][name].as_str().unwrap().to_owned();
    let verdict = match header("ce_type").as_str() {
        "lotline.lot.registered.v1" | "lotline.lot.scrapped.v1" => Verdict::Made(format!("lot:{}", text("lot_id"))),
        "lotline.lot.transformed.v1" => Verdict::Made(format!("transformation:{}", text("transformation_id"))),
        "lotline.qc_decision.recorded.v1" => Verdict::Made(format!("qc_decision:{}", text("decision_id"))),
        "lotline.command.refused.v1" => Verdict::Refused(text("code")),
        hold if hold.starts_with("lotline.hold.") && body["data"]["decision_id"].is_string() => return None,
        alert if alert.starts_with("lotline.alert.") && body["data"]["decision_id"].is_string() => return None,
        other => Verdict::Other(other.to_owned()),
    };
    Some((format!("{}/{}", header("ce_actor"), header("ce_causationid")), verdict))
}
