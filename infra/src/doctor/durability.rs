//! What becomes of an acknowledged event when a process, a machine or a disk fails: read from the servers, not from the configuration.

use std::collections::BTreeMap;

use anyhow::Context;
use lotline_adapters::log::kafka::{KafkaDurability, TopicDurability};
use sqlx::PgPool;

use super::Finding;
use crate::stores::Existing;

/// Asks whichever server holds the ledger, and PostgreSQL, which holds the read models and the keys in any case.
pub(super) async fn examine(ledger: &Existing, pool: &PgPool) -> anyhow::Result<Vec<Finding>> {
    let mut settings = BTreeMap::new();
    for name in ["fsync", "full_page_writes", "synchronous_commit"] {
        let value: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(name)
            .fetch_one(pool)
            .await
            .with_context(|| format!("PostgreSQL's {name} can't be read"))?;
        settings.insert(name, value);
    }
    Ok(match &ledger.kafka {
        Some(kafka) => {
            let mut findings = of_kafka(&kafka.durability().await?);
            findings.extend(of_postgres(&settings, Holds::ReadModels));
            findings
        }
        None => of_postgres(&settings, Holds::Ledger),
    })
}

/// What a loss in PostgreSQL would cost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// The ledger itself, and everything else.
    Ledger,
    /// What can be built again from Kafka, and the keys of personal data, which can't.
    ReadModels,
}

/// The ledger's writers switch `synchronous_commit` on for themselves, so the server's value decides about everything else only.
fn of_postgres(settings: &BTreeMap<&str, String>, holds: Holds) -> Vec<Finding> {
    let value = |name: &str| settings.get(name).map_or("unknown", String::as_str);
    let shown = settings.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ");
    let what = match holds {
        Holds::Ledger => "acknowledged events",
        Holds::ReadModels => "keys of personal data and read models",
    };
    let mut findings = Vec::new();
    if value("fsync") != "on" {
        let text = format!(
            "PostgreSQL with {shown}: {what} survive kill -9, NOT power loss, which may ruin the database: set fsync=on"
        );
        findings.push(Finding::Warning(text));
    } else if value("full_page_writes") != "on" {
        let text = format!(
            "PostgreSQL with {shown}: power loss in the middle of a page may ruin the database: set full_page_writes=on, unless the \
             file system writes pages whole"
        );
        findings.push(Finding::Warning(text));
    } else if holds == Holds::Ledger {
        let text = format!("PostgreSQL with {shown}: acknowledged events survive power loss, not the loss of the disk");
        findings.push(Finding::Good(text));
    }
    if value("synchronous_commit") == "off" {
        let lost = match holds {
            Holds::Ledger => "the ledger's writers set it on for themselves, but signals and keys of personal data",
            Holds::ReadModels => "keys of personal data",
        };
        let text = format!(
            "PostgreSQL with synchronous_commit=off: {lost} of the last moment can be lost in a crash: set it on"
        );
        findings.push(Finding::Warning(text));
    }
    findings
}

fn of_kafka(found: &KafkaDurability) -> Vec<Finding> {
    match &found.transactions {
        Some(transactions) => vec![of_topic(&found.log), of_topic(transactions)],
        None => vec![of_topic(&found.log)],
    }
}

fn of_topic(found: &TopicDurability) -> Finding {
    let TopicDurability { topic, copies, in_sync, flushed, unclean_election } = found;
    let flush = if *flushed { "1" } else { "not 1" };
    let shown = format!("{topic} has {copies} copies, min.insync.replicas={in_sync}, flush.messages {flush}");
    if *unclean_election {
        return Finding::Warning(format!(
            "{shown}, unclean.leader.election.enable=true: a copy that lacks acknowledged events may become the leader; set it false"
        ));
    }
    match (copies, in_sync, flushed) {
        (0 | 1, _, false) => Finding::Warning(format!(
            "{shown}: what is acknowledged survives kill -9 of the broker, NOT power loss; set flush.messages=1 on the topic, or have three \
             copies"
        )),
        (0 | 1, _, true) => Finding::Good(format!("{shown}: survives power loss, not the loss of the disk")),
        (copies, in_sync, _) if in_sync > copies => Finding::Failure(format!(
            "{shown}: more copies must be in sync than there are, so nothing can be written; lower min.insync.replicas"
        )),
        (_, 0 | 1, false) => Finding::Warning(format!(
            "{shown}: one copy is enough to acknowledge, so losing that broker loses events; set min.insync.replicas=2"
        )),
        (_, 0 | 1, true) => Finding::Warning(format!(
            "{shown}: survives power loss, but one copy is enough to acknowledge, so losing its disk loses events; set \
             min.insync.replicas=2"
        )),
        (_, in_sync, _) => Finding::Good(format!("{shown}: survives the loss of {} brokers at a time", in_sync - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(copies: usize, in_sync: usize, flushed: bool) -> TopicDurability {
        TopicDurability { topic: "ledger".into(), copies, in_sync, flushed, unclean_election: false }
    }

    #[test]
    fn kafka_is_told_as_it_is() {
        for (found, good, said) in [
            (topic(1, 1, false), false, "NOT power loss"),
            (topic(1, 1, true), true, "not the loss of the disk"),
            (topic(3, 1, false), false, "set min.insync.replicas=2"),
            (topic(3, 2, false), true, "survives the loss of 1 brokers"),
            (
                TopicDurability { unclean_election: true, ..topic(3, 2, true) },
                false,
                "unclean.leader.election.enable=true",
            ),
        ] {
            match of_topic(&found) {
                Finding::Good(text) => assert!(good && text.contains(said), "{found:?}: {text}"),
                Finding::Warning(text) => assert!(!good && text.contains(said), "{found:?}: {text}"),
                Finding::Failure(text) => panic!("{text}"),
            }
        }
        assert!(matches!(of_topic(&topic(2, 3, false)), Finding::Failure(_)));
    }

    #[test]
    fn both_topics_of_an_append_count() {
        let transactions = Some(TopicDurability { topic: "__transaction_state".into(), ..topic(1, 1, false) });
        let findings = of_kafka(&KafkaDurability { log: topic(1, 1, true), transactions });
        assert!(matches!(&findings[0], Finding::Good(_)));
        assert!(matches!(&findings[1], Finding::Warning(text) if text.contains("__transaction_state")));
    }

    #[test]
    fn postgres_is_told_as_it_is() {
        let told = |fsync: &str, pages: &str, commit: &str, holds| {
            let settings = [("fsync", fsync), ("full_page_writes", pages), ("synchronous_commit", commit)];
            of_postgres(&settings.map(|(name, value)| (name, value.to_owned())).into(), holds)
        };
        let safe = told("on", "on", "on", Holds::Ledger);
        assert!(matches!(&safe[..], [Finding::Good(text)] if text.contains("survive power loss")), "{safe:?}");
        let risky = told("off", "on", "on", Holds::Ledger);
        assert!(matches!(&risky[..], [Finding::Warning(text)] if text.contains("NOT power loss")), "{risky:?}");
        let torn = told("on", "off", "on", Holds::Ledger);
        assert!(matches!(&torn[..], [Finding::Warning(text)] if text.contains("full_page_writes=on")), "{torn:?}");
        let late = told("on", "on", "off", Holds::Ledger);
        assert!(
            matches!(&late[..], [Finding::Good(_), Finding::Warning(text)] if text.contains("for themselves")),
            "{late:?}"
        );
        assert!(told("on", "on", "on", Holds::ReadModels).is_empty(), "Kafka's lines are enough");
    }
}
