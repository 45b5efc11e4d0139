//! What an integrator may do on Kafka, which is to read its tenant, and what a stranger may, which is nothing.
//!
//! Every topic that is tried exists, and every client gives up soon: librdkafka would go on looking for a topic that is not there.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use lotline_tests::client::{Client, lot};
use lotline_tests::server::lotline;
use lotline_tests::stack::{self, Secured};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::producer::{FutureProducer, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::secured::{INTEGRATOR, SERVER, client, grant, join, said, secured_plant, write};
use crate::site::SITE;

/// How long a single request may take. A refusal comes at once.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long a client without an answer is watched.
const SILENCE: Duration = Duration::from_secs(3);

/// Whatever an integrator tries beyond reading its own tenant is refused, and leaves no trace in any topic.
#[tokio::test]
async fn an_integrator_reads_its_tenant_and_writes_nowhere() {
    let kafka = stack::kafka_secured();
    let plant = secured_plant("readable", &kafka).await;
    let other = secured_plant("unreadable", &kafka).await;
    let (tenant, neighbour) = (&plant.settings.tenant, &other.settings.tenant);
    grant(&kafka, [("server", tenant, SERVER), ("integrator", tenant, INTEGRATOR), ("server", neighbour, SERVER)]);
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    ann.mutate("registerLot", "", &lot(SITE, "M-1", "100", &[])).await;
    plant.sample(1, 1.5).await;
    other.ledger().await;
    let topics = ["ledger", "signals"].map(|kind| format!("lotline.{tenant}.{kind}.v1"));
    let others = format!("lotline.{neighbour}.ledger.v1");
    let before = topics.each_ref().map(|topic| marks(&kafka, topic));

    let refused_topic = Some(RDKafkaErrorCode::TopicAuthorizationFailed);
    let group = format!("{INTEGRATOR}.{tenant}");
    for topic in &topics {
        assert_eq!(join(&kafka, topic, &group), None, "{topic} can be read");
    }
    assert_eq!(join(&kafka, &others, &group), refused_topic);
    // The group by which Lotline's nodes share the ledger: a member of it would take partitions away from them.
    let writers = format!("{}-writers", topics[0]);
    assert_eq!(join(&kafka, &topics[0], &writers), Some(RDKafkaErrorCode::GroupAuthorizationFailed));
    let consumer: BaseConsumer = client(&kafka).create().unwrap();
    let listed = consumer.fetch_metadata(None, DEADLINE).unwrap();
    let listed: Vec<&str> = listed.topics().iter().map(MetadataTopic::name).collect();
    assert!(topics.iter().all(|topic| listed.contains(&topic.as_str())), "{listed:?}");
    assert!(!listed.contains(&others.as_str()), "the integrator does not even learn that there is a neighbour");

    for topic in topics.iter().chain([&others]) {
        assert_eq!(write(&kafka, topic).await, refused_topic, "{topic}");
    }
    for id in [format!("lotline.{tenant}.ledger.v1-0"), format!("{INTEGRATOR}.mine"), "mine".to_owned()] {
        let producer: FutureProducer = client(&kafka).set("transactional.id", &id).create().unwrap();
        let refused = producer.init_transactions(DEADLINE).unwrap_err();
        let code = Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed);
        assert_eq!(refused.rdkafka_error_code(), code, "{id}: {refused}");
    }
    administers_nothing(&kafka, tenant, &topics).await;

    // Lotline goes on writing, and nobody else has.
    assert_eq!(topics.each_ref().map(|topic| marks(&kafka, topic)), before);
    ann.mutate("registerLot", "", &lot(SITE, "M-2", "100", &[])).await;
    said(&lotline(&plant.settings).args(["log", "stats"]).output().expect("the lotline binary starts"));
}

/// Who gives no name, a name that nobody has or a wrong password is told nothing at all.
#[tokio::test]
async fn a_stranger_gets_nothing() {
    let kafka = stack::kafka_secured();
    let plant = secured_plant("closed", &kafka).await;
    grant(&kafka, [("server", &plant.settings.tenant, SERVER), ("integrator", &plant.settings.tenant, INTEGRATOR)]);
    plant.ledger().await;
    let authority = kafka.options(INTEGRATOR)["ssl.ca.location"].clone();
    for (what, changes) in [
        ("a wrong password", vec![("sasl.password", "not-the-password")]),
        ("a name that nobody has", vec![("sasl.username", "nobody")]),
        ("the password of another", vec![("sasl.username", SERVER)]),
        ("no name", vec![("security.protocol", "SSL")]),
        ("no encryption", vec![("security.protocol", "SASL_PLAINTEXT")]),
        ("neither", vec![("security.protocol", "PLAINTEXT")]),
    ] {
        let mut config = client(&kafka);
        config.set("ssl.ca.location", &authority);
        for (name, value) in changes {
            config.set(name, value);
        }
        assert_eq!(known(&config, SILENCE), None, "{what}");
    }
    // The certificate of the node is asked for where the administrator comes in, and nobody else has it.
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka.admin).set("security.protocol", "SSL").set("ssl.ca.location", &authority);
    assert_eq!(known(&config, SILENCE), None, "the administrator's door without a certificate");
    assert!(known(&client(&kafka), DEADLINE).is_some(), "the integrator itself is let in");
}

/// The script gives what the README says, and Lotline has no other rights: it is no super user, and nobody else may write.
#[tokio::test]
async fn rights_are_those_that_the_readme_lists() {
    let kafka = stack::kafka_secured();
    let tenant = stack::unique("listed");
    grant(&kafka, [("server", &tenant, SERVER), ("integrator", &tenant, INTEGRATOR)]);
    let prefix = format!("lotline.{tenant}.");
    let mut expected = BTreeSet::new();
    for operation in ["CREATE", "DESCRIBE", "DESCRIBE_CONFIGS", "READ", "WRITE"] {
        expected.insert(format!("TOPIC {prefix} PREFIXED User:{SERVER} {operation}"));
    }
    for (kind, operation) in
        [("TRANSACTIONAL_ID", "DESCRIBE"), ("TRANSACTIONAL_ID", "WRITE"), ("GROUP", "DESCRIBE"), ("GROUP", "READ")]
    {
        expected.insert(format!("{kind} {prefix} PREFIXED User:{SERVER} {operation}"));
    }
    for operation in ["DESCRIBE", "READ"] {
        expected.insert(format!("TOPIC {prefix} PREFIXED User:{INTEGRATOR} {operation}"));
    }
    expected.insert(format!("GROUP {INTEGRATOR}. PREFIXED User:{INTEGRATOR} READ"));
    let all = rules(&kafka);
    let concerns = |rule: &&String| {
        let name = rule.split(' ').nth(1).expect("a rule names its resource");
        name == "*" || name.starts_with(&prefix) || prefix.starts_with(name) || name.starts_with(INTEGRATOR)
    };
    assert_eq!(all.iter().filter(concerns).cloned().collect::<BTreeSet<_>>(), expected);
    let cluster: Vec<&String> = all.iter().filter(|rule| rule.starts_with("CLUSTER")).collect();
    assert!(cluster.is_empty(), "nobody has rights on the cluster: {cluster:?}");
    let broker = std::fs::read_to_string(kafka.access.with_file_name("server.properties")).unwrap();
    let super_users = broker.lines().find(|line| line.starts_with("super.users="));
    assert_eq!(super_users, Some("super.users=User:CN=broker"));
    assert!(!broker.contains("allow.everyone.if.no.acl.found=true"), "what no rule names is closed");
}

/// Topics, their records, settings and groups.
async fn administers_nothing(kafka: &Secured, tenant: &str, topics: &[String; 2]) {
    let admin: AdminClient<DefaultClientContext> = client(kafka).create().unwrap();
    let options = AdminOptions::new().request_timeout(Some(DEADLINE));
    let ledger = topics[0].as_str();
    let refused = |what: &str, code: Option<RDKafkaErrorCode>| {
        let codes = [
            RDKafkaErrorCode::TopicAuthorizationFailed,
            RDKafkaErrorCode::ClusterAuthorizationFailed,
            RDKafkaErrorCode::GroupAuthorizationFailed,
        ];
        assert!(code.is_some_and(|code| codes.contains(&code)), "{what}: {code:?}");
    };
    let mine = [format!("lotline.{tenant}.mine.v1"), "mine".to_owned()];
    let fresh: Vec<NewTopic<'_>> = mine.iter().map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1))).collect();
    for result in admin.create_topics(&fresh, &options).await.unwrap() {
        refused("create a topic", result.err().map(|(_, code)| code));
    }
    for result in admin.delete_topics(&[ledger, &topics[1]], &options).await.unwrap() {
        refused("delete a topic", result.err().map(|(_, code)| code));
    }
    for result in admin.create_partitions(&[NewPartitions::new(ledger, 64)], &options).await.unwrap() {
        refused("add partitions", result.err().map(|(_, code)| code));
    }
    // The client library does not pass the answer on, so the settings themselves are looked at, as Lotline may.
    let before = retention(kafka, ledger).await;
    let short = AlterConfig::new(ResourceSpecifier::Topic(ledger)).set("retention.ms", "1");
    admin.alter_configs(&[short], &options).await.unwrap();
    assert_eq!(retention(kafka, ledger).await, before);
    let denied = |line: &str| line.contains("Denied operation = ALTER_CONFIGS") && line.contains(ledger);
    assert!(kafka.log().lines().any(denied), "the broker has refused new settings");
    let mut records = TopicPartitionList::new();
    for partition in 0..4 {
        records.add_partition_offset(ledger, partition, Offset::End).unwrap();
    }
    match admin.delete_records(&records, &options).await {
        Err(error) => refused("delete records", error.rdkafka_error_code()),
        Ok(results) => {
            for element in results.elements() {
                refused("delete records", element.error().err().and_then(|error| error.rdkafka_error_code()));
            }
        }
    }
    let group = format!("{ledger}-writers");
    for result in admin.delete_groups(&[&group], &options).await.unwrap() {
        refused("delete the group of the writers", result.err().map(|(_, code)| code));
    }
}

/// How long the topic keeps its records.
async fn retention(kafka: &Secured, topic: &str) -> Option<String> {
    let mut config: ClientConfig = kafka.options(SERVER).into_iter().collect();
    let admin: AdminClient<DefaultClientContext> = config.set("bootstrap.servers", &kafka.brokers).create().unwrap();
    let options = AdminOptions::new().request_timeout(Some(DEADLINE));
    let described = admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options).await.unwrap();
    let settings = described.into_iter().next().unwrap().unwrap();
    settings.get("retention.ms").and_then(|entry| entry.value.clone())
}

/// First and next offset of each partition, as Lotline's user sees them.
fn marks(kafka: &Secured, topic: &str) -> Vec<(i64, i64)> {
    let mut config: ClientConfig = kafka.options(SERVER).into_iter().collect();
    let consumer: BaseConsumer = config.set("bootstrap.servers", &kafka.brokers).create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), DEADLINE).unwrap();
    let partitions = metadata.topics()[0].partitions().iter().map(MetadataPartition::id);
    partitions.map(|partition| consumer.fetch_watermarks(topic, partition, DEADLINE).unwrap()).collect()
}

/// Topics that a client gets to know of, or nothing when nobody answers it.
fn known(config: &ClientConfig, patience: Duration) -> Option<Vec<String>> {
    let consumer: BaseConsumer = config.create().unwrap();
    let metadata = consumer.fetch_metadata(None, patience).ok()?;
    Some(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
}

/// All rules of the broker: kind, name and pattern of the resource, who, and what.
fn rules(kafka: &Secured) -> BTreeSet<String> {
    let mut command = Command::new(kafka.access.join("bin/kafka-acls.sh"));
    command.args(["--bootstrap-server", &kafka.admin, "--list", "--command-config"]);
    let listed = said(&command.arg(kafka.access.join("admin.properties")).output().expect("Kafka's script starts"));
    let between = |text: &str, start: &str| {
        let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("{start} in {text}"));
        rest.split([',', ')']).next().unwrap_or_default().to_owned()
    };
    let (mut resource, mut rules) = (String::new(), BTreeSet::new());
    for line in listed.lines() {
        if line.contains("ResourcePattern(") {
            resource = ["resourceType=", "name=", "patternType="].map(|start| between(line, start)).join(" ");
        } else if line.contains("principal=") {
            assert_eq!((between(line, "host="), between(line, "permissionType=")), ("*".into(), "ALLOW".into()));
            rules.insert(format!("{resource} {} {}", between(line, "principal="), between(line, "operation=")));
        }
    }
    rules
}
