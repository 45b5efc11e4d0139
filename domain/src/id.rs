//! Identifiers as newtypes, so that a lot can't be passed where a pipeline is meant.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use uuid::Uuid;

use crate::timestamp::Timestamp;

/// The key of the stream that belongs to the tenant as a whole rather than to one of its sites.
pub const TENANT_STREAM: &str = "_tenant";

/// A name that can't be used as an identifier.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("'{given}' is not a valid {kind}: {rule}")]
pub struct InvalidId {
    kind: &'static str,
    given: String,
    rule: &'static str,
}

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Accepts 1 to 63 of `a-z 0-9 -`, beginning with a letter or digit.
            ///
            /// # Errors
            /// [`InvalidId`] that says the rule.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                let valid = (1..=63).contains(&text.len())
                    && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                    && !text.starts_with('-');
                if valid {
                    Ok(Self(text))
                } else {
                    Err(InvalidId {
                        kind: $kind,
                        given: text.chars().take(64).collect(),
                        rule: "use 1 to 63 of a-z, 0-9 and '-', beginning with a letter or digit",
                    })
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

slug!(/// An organisation: owns users, roles, products, pipelines. Part of topic names.
    TenantId, "tenant id");
slug!(/// A plant of a tenant. The key of its stream.
    SiteId, "site id");
slug!(/// A process that reads machines and publishes signal batches.
    CollectorId, "collector id");
slug!(/// A machine that a collector talks to.
    DeviceId, "device id");

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(#[schemars(schema_with = "crate::schema::uuid")] pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(/// A lot.
    LotId);
uuid_id!(/// A quality decision.
    QcDecisionId);
uuid_id!(/// What keeps lots from being used.
    HoldId);
uuid_id!(/// What made lots out of lots.
    TransformationId);
uuid_id!(/// A sample taken of a lot.
    SampleId);
uuid_id!(/// What came from a supplier at once.
    DeliveryId);
uuid_id!(/// What left the site at once.
    ShipmentId);
uuid_id!(/// A pipeline.
    PipelineId);
uuid_id!(/// What lots are of.
    ProductId);
uuid_id!(/// A supplier or customer.
    PartnerId);
uuid_id!(/// A template of a process.
    ScenarioId);
uuid_id!(/// A production run.
    RunId);
uuid_id!(/// Something that needs attention.
    AlertId);
uuid_id!(/// A person who may sign in.
    UserId);
uuid_id!(/// A key by which a program comes in.
    ApiKeyId);
uuid_id!(/// What a person has from signing in to signing out, in one browser or program.
    SessionId);
uuid_id!(/// An event; `ce_id`.
    EventId);
uuid_id!(/// A command: UUIDv7, chosen by the caller, the key of its idempotency; `ce_causationid`.
    CommandId);
uuid_id!(/// Ties together all that one request caused; `ce_correlationid`.
    CorrelationId);

/// Who acted: an opaque id, never a name. 1 to 64 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActorId(String);

impl ActorId {
    /// # Errors
    /// [`InvalidId`] when the text is empty, too long, or not visible ASCII.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
        let text = text.into();
        if (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text))
        } else {
            Err(InvalidId {
                kind: "actor id",
                given: text.chars().take(64).collect(),
                rule: "use 1 to 64 visible ASCII characters",
            })
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ActorId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

impl From<ActorId> for String {
    fn from(id: ActorId) -> String {
        id.0
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One totally ordered sequence of decisions: a site's, or the tenant's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StreamKey {
    /// Decisions that concern the tenant as a whole, such as its pipelines.
    Tenant,
    /// Decisions of one plant.
    Site(SiteId),
}

impl StreamKey {
    /// The record key: the site id, or `_tenant`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Tenant => TENANT_STREAM,
            Self::Site(site) => site.as_str(),
        }
    }

    /// Reads a record key.
    ///
    /// # Errors
    /// [`InvalidId`] when it is neither `_tenant` nor a site id.
    pub fn parse(key: &str) -> Result<Self, InvalidId> {
        if key == TENANT_STREAM { Ok(Self::Tenant) } else { SiteId::new(key).map(Self::Site) }
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl CommandId {
    /// The time in the leading 48 bits when this is a UUIDv7, else nothing.
    pub fn time(self) -> Option<Timestamp> {
        if self.0.get_version_num() != 7 {
            return None;
        }
        let bytes = self.0.as_bytes();
        let millis = bytes[..6].iter().fold(0_i64, |acc, byte| (acc << 8) | i64::from(*byte));
        Some(Timestamp::from_millis(millis))
    }

    /// The id of the thing that this command creates: a UUIDv7 with the command's own time, and the rest from
    /// SHA-256 over stream, actor and command. A retried command thereby names the same thing again, without anybody having to remember.
    pub fn derive(self, tenant: &TenantId, stream: &StreamKey, actor: &ActorId) -> Uuid {
        let mut hasher = Sha256::new();
        for part in [tenant.as_str(), stream.as_str(), actor.as_str()] {
            hasher.update((part.len() as u32).to_be_bytes());
            hasher.update(part);
        }
        hasher.update(self.0.as_bytes());
        with_time_of(self.0, &hasher.finalize())
    }
}

/// The id of one of several things that a command creates: a UUIDv7 of the same time as the `first` derived id.
pub(crate) fn nth(first: Uuid, index: usize) -> Uuid {
    let digest = Sha256::new().chain_update(first.as_bytes()).chain_update((index as u64).to_be_bytes()).finalize();
    with_time_of(first, &digest)
}

/// A UUIDv7 of a time, with the rest from a digest.
pub(crate) fn v7(time: Timestamp, digest: &[u8]) -> Uuid {
    let millis = u128::from(time.millis().unsigned_abs());
    with_time_of(Uuid::from_u128(millis << 80), digest)
}

/// Another id that derives from the command, by what it is of: a UUIDv7 of the same time as the `first` derived id.
pub(crate) fn beside(first: Uuid, what: &str) -> Uuid {
    let digest = Sha256::new().chain_update(first.as_bytes()).chain_update(what).finalize();
    with_time_of(first, &digest)
}

fn with_time_of(id: Uuid, digest: &[u8]) -> Uuid {
    let mut bytes = *id.as_bytes();
    bytes[6..].copy_from_slice(&digest[..10]);
    uuid::Builder::from_bytes(bytes)
        .with_variant(uuid::Variant::RFC4122)
        .with_version(uuid::Version::SortRand)
        .into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_follow_their_rule() {
        for good in ["a", "north", "plant-1", "0x"] {
            assert!(SiteId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a b", "_tenant", "ä", &"x".repeat(64)] {
            assert!(SiteId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn derived_ids_keep_time_and_differ_by_scope() {
        let command = CommandId(Uuid::parse_str("018f2a6e-7c00-7abc-8def-0123456789ab").unwrap());
        let (tenant, actor) = (TenantId::new("t").unwrap(), ActorId::new("ann").unwrap());
        let north = StreamKey::parse("north").unwrap();
        let one = command.derive(&tenant, &north, &actor);
        assert_eq!(one, command.derive(&tenant, &north, &actor));
        assert_ne!(one, command.derive(&tenant, &StreamKey::Tenant, &actor));
        assert_eq!(CommandId(one).time(), command.time());
        assert_eq!(one.get_version_num(), 7);
    }
}
