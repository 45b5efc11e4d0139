//! Why the brokers can't be reached or refuse, in words that name what to look at.
//!
//! librdkafka goes on connecting for ever, whatever the reason: a wrong password looks to a caller like a broker that is down. It tells
//! the reason to a callback only. A [`Witness`] keeps it, and [`explain`] puts it in the place of the error that says less.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

/// A failure whose reason librdkafka has told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// SASL has failed.
    #[error(
        "the brokers do not accept who we say we are; see sasl.mechanism, sasl.username and sasl.password in kafka.client ({reported})"
    )]
    Credentials {
        /// In librdkafka's words.
        reported: String,
    },
    /// TLS has failed, mostly because of a certificate.
    #[error(
        "no TLS connection can be made; see ssl.ca.location in kafka.client, which must hold the authority that signed the brokers' \
         certificates, and kafka.brokers, which must name a TLS listener by a name in its certificate ({reported})"
    )]
    Tls {
        /// In librdkafka's words.
        reported: String,
    },
    /// Nobody answers, or not in the protocol that we speak.
    #[error("the brokers can't be reached; see kafka.brokers, and security.protocol in kafka.client ({reported})")]
    Connection {
        /// In librdkafka's words.
        reported: String,
    },
    /// The user is known and lacks a right.
    #[error("the brokers refuse it to this user ({code}); infra/deploy/kafka-acls.sh gives Lotline its rights")]
    Rights {
        /// What is refused.
        code: RDKafkaErrorCode,
    },
    /// librdkafka does not know an option, or can't use it. rdkafka would add the value, which under a misspelt name may be a password.
    #[error("kafka.client has an option that librdkafka refuses: {reported}")]
    Option {
        /// In librdkafka's words, which name the option.
        reported: String,
    },
}

/// What the client heard last beside its answers.
#[derive(Debug)]
struct Heard {
    code: RDKafkaErrorCode,
    reason: String,
}

/// The context of a client, which keeps what librdkafka reports to it.
#[derive(Clone, Default)]
pub(super) struct Witness(Arc<Mutex<Option<Heard>>>);

impl Witness {
    /// Keeps a report. That all brokers are down is only what follows from the one before.
    pub(super) fn hear(&self, error: &KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code().filter(|code| *code != RDKafkaErrorCode::AllBrokersDown) {
            *self.lock() = Some(Heard { code, reason: reason.to_owned() });
        }
    }

    /// After a success, what was heard before explains nothing any more.
    pub(super) fn forget(&self) {
        *self.lock() = None;
    }

    /// Whether the brokers, or we, have refused the connection: trying on does not help.
    pub(super) fn is_refused(&self) -> bool {
        self.lock()
            .as_ref()
            .is_some_and(|heard| matches!(heard.code, RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Heard>> {
        self.0.lock().expect("invariant: nothing panics while it holds this lock")
    }
}

impl ClientContext for Witness {
    /// A broker that hangs up, as one that wants TLS does without it, is no error to librdkafka: only its log tells.
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "FAIL" && !self.is_refused() {
            let reason = message.split_once("]: ").map_or(message, |(_thread, reason)| reason).to_owned();
            *self.lock() = Some(Heard { code: RDKafkaErrorCode::BrokerTransportFailure, reason });
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.hear(&error, reason);
    }
}

impl ConsumerContext for Witness {}

/// The error, or what is known to be behind it.
pub(super) fn explain(error: KafkaError, witness: &Witness) -> Box<dyn Error + Send + Sync> {
    let code = match &error {
        KafkaError::ClientConfig(_, reported, _, _) | KafkaError::ClientCreation(reported) => {
            return Box::new(Trouble::Option { reported: reported.clone() });
        }
        KafkaError::AdminOp(code) => Some(*code),
        _ => error.rdkafka_error_code(),
    };
    match code {
        Some(
            code @ (RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed),
        ) => Box::new(Trouble::Rights { code }),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut,
        ) => match witness.lock().take() {
            Some(Heard { code, reason: reported }) => Box::new(match code {
                RDKafkaErrorCode::Authentication => Trouble::Credentials { reported },
                RDKafkaErrorCode::SSL => Trouble::Tls { reported },
                _ => Trouble::Connection { reported },
            }),
            None => Box::new(error),
        },
        _ => Box::new(error),
    }
}
