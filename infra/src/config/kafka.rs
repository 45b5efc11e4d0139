//! Section `[kafka]`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};

/// Apache Kafka.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaSection {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// Replicas of a topic that Lotline creates. 3 in production, with `min.insync.replicas=2` at the broker.
    pub replication: u32,
    /// Create topics with `flush.messages=1`: survives power loss on a single broker, at a price that `make bench` shows.
    pub flush_each_batch: bool,
    /// Passed to librdkafka as they are: `security.protocol`, `sasl.mechanism`, `ssl.ca.location` and so on. In the environment a name is
    /// written with underscores for its dots: `LOTLINE_KAFKA__CLIENT__SASL_PASSWORD`.
    #[serde(deserialize_with = "options")]
    pub client: BTreeMap<String, String>,
}

impl KafkaSection {
    /// For people to look at: of the options about security only those that are known to be no secret keep their value, since a
    /// misspelt name may hide a password.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let shown = |name: &str| {
            let is_security = name.starts_with("sasl") || name.starts_with("ssl");
            let harmless = [".mechanism", ".mechanisms", ".username", ".location", ".algorithm"];
            !is_security || harmless.iter().any(|end| name.ends_with(end))
        };
        let redact = |(name, value): (&String, &String)| {
            (name.clone(), if shown(name) { value.clone() } else { "***".to_owned() })
        };
        Self { client: self.client.iter().map(redact).collect(), ..self.clone() }
    }
}

impl fmt::Debug for KafkaSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSection")
            .field("brokers", &self.brokers)
            .field("client", &self.redacted().client)
            .finish_non_exhaustive()
    }
}

impl Default for KafkaSection {
    fn default() -> Self {
        Self { brokers: "127.0.0.1:9092".into(), replication: 1, flush_each_batch: false, client: BTreeMap::new() }
    }
}

/// The names of librdkafka's options as they stand in the environment, where a name can't have dots. None of its options that can be
/// set by text has an underscore, so nothing is lost. Values are taken letter by letter: a password of digits is a text.
pub(super) fn from_environment(variables: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    variables.map(|(name, value)| (name.to_lowercase().replace('_', "."), value)).collect()
}

/// Texts, whole numbers and truth values; librdkafka reads them all as text. A refusal does not repeat the value.
fn options<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        Text(String),
        Number(i64),
        Truth(bool),
        Other(serde::de::IgnoredAny),
    }
    let given = BTreeMap::<String, Value>::deserialize(deserializer)?;
    given
        .into_iter()
        .map(|(name, value)| match value {
            Value::Text(text) => Ok((name, text)),
            Value::Number(number) => Ok((name, number.to_string())),
            Value::Truth(truth) => Ok((name, truth.to_string())),
            Value::Other(_) => {
                Err(D::Error::custom(format!("kafka.client.\"{name}\" must be a text; write it in quotes")))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underscores_of_the_environment_are_dots() {
        let given = [("SASL_PASSWORD", "0815"), ("ssl_ca_location", "/etc/ca_1.pem")];
        let options = from_environment(given.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        let expected = [("sasl.password", "0815"), ("ssl.ca.location", "/etc/ca_1.pem")];
        assert_eq!(options, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn numbers_are_texts_and_a_refusal_keeps_the_value_to_itself() {
        let read = |text: &str| toml::from_str::<KafkaSection>(text);
        let section = read("[client]\n\"socket.timeout.ms\" = 5000\n\"socket.keepalive.enable\" = true\n").unwrap();
        assert_eq!(section.client["socket.timeout.ms"], "5000");
        assert_eq!(section.client["socket.keepalive.enable"], "true");
        let refused = read("[client]\n\"sasl.password\" = [\"hunter2\"]\n").unwrap_err();
        assert!(refused.message().contains("sasl.password") && !refused.message().contains("hunter2"), "{refused}");
    }

    #[test]
    fn nothing_about_security_is_shown_unless_it_is_known_to_be_harmless() {
        let mut section = KafkaSection::default();
        for name in ["sasl.password", "sasl.pasword", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.config"] {
            section.client.insert(name.to_owned(), "hunter2\nhunter2".to_owned());
        }
        for name in ["sasl.username", "ssl.ca.location", "security.protocol", "socket.timeout.ms"] {
            section.client.insert(name.to_owned(), format!("value of {name}"));
        }
        let shown = format!("{section:?}{}", toml::to_string_pretty(&section.redacted()).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(shown.matches("value of ").count(), 8, "{shown}");
    }
}
