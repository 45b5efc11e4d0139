//! Good inputs of every target, from the golden fixtures where there are some.

use std::path::Path;

use async_graphql::ID;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use lotline_api::schema::global_id::NodeId;
use lotline_api::schema::{audit, connection, signal};
use lotline_domain::envelope::{Attributes, CommandHash, Envelope, Hash};
use lotline_domain::event::{EVENT_TYPES, Event};
use lotline_domain::gs1::Scan;
use lotline_domain::id::{
    ActorId, CollectorId, CommandId, CorrelationId, DeviceId, EventId, SessionId, SiteId, StreamKey, TenantId, UserId,
};
use lotline_domain::identity::api_key::{ApiKeyText, RANDOM_BYTES};
use lotline_domain::identity::secret::{OpaqueToken, SecretKind};
use lotline_domain::identity::token::{Claims, KeyName, Unverified};
use lotline_domain::position::Position;
use lotline_domain::sample::{Quality, SignalBatch, codec};
use lotline_domain::timestamp::Timestamp;
use uuid::Uuid;

use lotline_tests::fuzz::{TENANT, record, record_text};

/// An input, and how it is written when something within it has been changed.
#[derive(Clone)]
pub(crate) struct Form {
    pub(crate) inner: Vec<u8>,
    writing: fn(&[u8]) -> Vec<u8>,
}

impl Form {
    pub(crate) fn written(&self, inner: &[u8]) -> Vec<u8> {
        (self.writing)(inner)
    }

    fn plain(inner: impl Into<Vec<u8>>) -> Self {
        Self { inner: inner.into(), writing: <[u8]>::to_vec }
    }

    fn encoded(inner: impl Into<Vec<u8>>) -> Self {
        Self { inner: inner.into(), writing: |inner| BASE64_URL_SAFE_NO_PAD.encode(inner).into_bytes() }
    }
}

pub(crate) fn of(name: &str) -> Vec<Form> {
    match name {
        "envelope" => fixtures().iter().map(|(kind, value)| Form::plain(ledger_record(kind, value))).collect(),
        "event" => {
            fixtures().iter().map(|(kind, value)| Form::plain([kind.as_bytes(), b"\n", value].concat())).collect()
        }
        "signal_batch" => batches().iter().map(|batch| Form::plain(codec::encode(batch).to_vec())).collect(),
        "signal_record" => {
            batches().iter().map(|batch| Form::plain(record_text(&codec::to_record(&tenant(), batch)))).collect()
        }
        "position" => ["l0.1", "l0.5_l1.2_s0.9223372036854775807", "s12.0", ""].map(Form::plain).to_vec(),
        "cursor" => ["00000000-0000-7000-8000-000000000001", "north:17", "2026-11-21T03:15:00.000000Z/3/9999"]
            .map(Form::encoded)
            .to_vec(),
        "global_id" => ["lot", "qc_decision", "pipeline", "audit_entry"]
            .map(|kind| Form::encoded(format!("{kind}:00000000-0000-7000-8000-000000000001")))
            .into_iter()
            .chain([Form::encoded("signal:north:17")])
            .collect(),
        "api_key" => secrets(),
        "gs1_scan" => [
            "]C1010950600013435210AB-1/2\u{1d}172612243103012500",
            "(00)340123450000000017(02)04012345678901(37)120(10)L(7)",
            "https://id.gs1.org/01/09506000134352/10/AB-1%2F2?17=261224&linkType=all",
        ]
        .map(Form::plain)
        .to_vec(),
        "access_token" => vec![token("lotline", 1_790_000_000), token("https://lotline.example", 0)],
        other => panic!("{other} has no seeds"),
    }
}

/// Whether the decoder itself takes an input: a target only says that it was survived.
pub(crate) fn is_taken(name: &str, input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input);
    match name {
        "envelope" => record(input).is_some_and(|record| Envelope::from_record(&tenant(), &record).is_ok()),
        "event" => text.split_once('\n').is_some_and(|(kind, value)| Event::decode(kind, value.as_bytes()).is_ok()),
        "signal_batch" => codec::decode(input).is_ok(),
        "signal_record" => record(input).is_some_and(|record| codec::from_record(&tenant(), &record).is_ok()),
        "position" => text.parse::<Position>().is_ok(),
        "cursor" => {
            connection::after(Some(&text), |text| Uuid::try_parse(text).ok()).is_ok()
                || connection::after(Some(&text), audit::read_key).is_ok()
                || connection::after(Some(&text), signal::read_key).is_ok()
        }
        "global_id" => NodeId::decode(&ID(text.into_owned())).is_some(),
        "api_key" => {
            let kinds = [SecretKind::Refresh, SecretKind::Link, SecretKind::Proof];
            ApiKeyText::parse(&text).is_ok() || kinds.into_iter().any(|kind| OpaqueToken::parse(kind, &text).is_some())
        }
        "gs1_scan" => Scan::parse(&text).is_ok(),
        "access_token" => Unverified::read(&text).and_then(|token| token.verify(|_, _| true)).is_ok(),
        other => panic!("{other} is not known"),
    }
}

fn tenant() -> TenantId {
    TenantId::new(TENANT).unwrap()
}

/// Type and value of every golden event.
fn fixtures() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../domain/tests/golden");
    let mut found = Vec::new();
    for kind in EVENT_TYPES {
        for variant in ["minimal", "full"] {
            let value = std::fs::read(folder.join(format!("{kind}.{variant}.json"))).unwrap();
            found.push(((*kind).to_owned(), value.trim_ascii_end().to_vec()));
        }
    }
    found
}

fn ledger_record(kind: &str, value: &[u8]) -> Vec<u8> {
    let of_tenant = value.len().is_multiple_of(2);
    let attributes = Attributes {
        tenant: tenant(),
        stream: if of_tenant { StreamKey::Tenant } else { StreamKey::Site(SiteId::new("north").unwrap()) },
        id: EventId(Uuid::from_u128(1)),
        event_type: kind.to_owned().into(),
        subject: "lot/00000000-0000-7000-8000-000000000001".into(),
        time: Timestamp::from_millis(1_790_000_000_000),
        sequence: 42,
        actor: ActorId::new("ann").unwrap(),
        correlation_id: CorrelationId(Uuid::from_u128(2)),
        causation_id: CommandId(Uuid::from_u128(3)),
        command_hash: CommandHash([7; 16]),
        tenant_sequence: (!of_tenant).then_some(17),
        traceparent: of_tenant.then(|| "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
    };
    record_text(&Envelope::seal_record(&attributes, Hash([9; 32]), value.to_vec().into()).1)
}

fn batches() -> Vec<SignalBatch> {
    let batch = |values: &[f64], quality: Quality| SignalBatch {
        site: SiteId::new("north").unwrap(),
        collector: CollectorId::new("line-1").unwrap(),
        epoch: Uuid::from_u128(7),
        sequence: 3,
        device: DeviceId::new("pasteuriser").unwrap(),
        signals: (0..values.len() as u32).collect(),
        source_times: (0..values.len() as i64).map(|at| Timestamp::from_micros(1_790_000_000_000_000 - at)).collect(),
        values: values.to_vec(),
        qualities: vec![quality; values.len()],
        collected_at: Timestamp::from_millis(1_790_000_000_000),
    };
    vec![
        batch(&[72.5], Quality::GOOD),
        batch(&[0.0, -1.5, 1e300, f64::MIN_POSITIVE], Quality::GOOD),
        batch(&[f64::NAN, f64::INFINITY], Quality(0x8000_0000)),
    ]
}

fn secrets() -> Vec<Form> {
    let opaque = |kind| Form::plain(OpaqueToken::new(kind, [0xa7; 32]).expose());
    let key = |byte| Form::plain(ApiKeyText::new([byte; RANDOM_BYTES]).expose());
    vec![key(0), key(31), opaque(SecretKind::Refresh), opaque(SecretKind::Link), opaque(SecretKind::Proof)]
}

/// Three lines, header, claims and signature, which are written as a token.
fn token(issuer: &str, time: i64) -> Form {
    let claims = Claims {
        issuer: issuer.into(),
        audience: "lotline".into(),
        user: UserId(Uuid::from_u128(1)),
        tenant: tenant(),
        session: SessionId(Uuid::from_u128(2)),
        id: Uuid::from_u128(3),
        issued_at: time,
        expires_at: time + 900,
        authenticated_at: time,
    };
    let token = claims.sign(&KeyName::of(&[5; 32]), |_| [7; 64]);
    let parts: Vec<Vec<u8>> = token.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    let writing = |inner: &[u8]| {
        let parts: Vec<String> =
            inner.split(|byte| *byte == b'\n').map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).collect();
        parts.join(".").into_bytes()
    };
    Form { inner: parts.join(&b'\n'), writing }
}
