//! Lotline on a Kafka that lets nobody in without a name and nobody do what no rule allows: TLS, SASL/SCRAM, rights per tenant.
//!
//! The rights are given by the script that operators run, so what it gives is enough, and what it does not give is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lotline_tests::client::{Client, decision, lot};
use lotline_tests::server::{Log, lotline};
use lotline_tests::stack::{self, Secured};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode;
use serde_json::{Value, json};

use crate::site::{self, Plant, SITE};

/// The users that the stack has made.
pub(crate) const SERVER: &str = "lotline";
pub(crate) const INTEGRATOR: &str = "integrator";

/// How long a start may take that can't succeed. The product looks for the brokers for 10 s.
const START_DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_tenant_is_served_to_its_own_people_only() {
    let kafka = stack::kafka_secured();
    let plant = secured_plant("secured", &kafka).await;
    let tenant = &plant.settings.tenant;
    // A topic of somebody else whose name begins alike, with nothing granted to the integrator.
    let mut other = secured_plant("neighbour", &kafka).await;
    other.settings.tenant = format!("{tenant}-two");
    let neighbour = &other.settings.tenant;
    grant(&kafka, [("server", tenant, SERVER), ("integrator", tenant, INTEGRATOR), ("server", neighbour, SERVER)]);
    other.ledger().await;

    let mut server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    ann.mutate("registerLot", "", &lot(SITE, "M-1", "100", &[])).await;
    let decided = ann.mutate("recordQcDecision", "", &decision(SITE, "M-1", "PASS")).await;
    assert_eq!(site::lot(&ann, "M-1", &decided["position"]).await["qcStatus"], "PASS");
    plant.sample(1, 1.5).await;
    let oracle = plant.assert_tables_equal_the_log(&ann).await;

    let read = integrator(&kafka, tenant);
    let summary: Value = serde_json::from_str(&said(&read)).expect("the integrator prints a summary");
    assert_eq!(summary["ledger"]["events"], json!(oracle.world.audit.len()), "{summary}");
    assert_eq!(summary["signals"]["samples"], json!(1), "{summary}");

    let refused = integrator(&kafka, neighbour);
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && complaint.contains("TOPIC_AUTHORIZATION_FAILED"), "{complaint}");
    let topic = format!("lotline.{tenant}.ledger.v1");
    assert_eq!(write(&kafka, &topic).await, Some(RDKafkaErrorCode::TopicAuthorizationFailed));
    assert_eq!(join(&kafka, &topic, "integrator.night"), None);
    assert_eq!(join(&kafka, &topic, "stranger"), Some(RDKafkaErrorCode::GroupAuthorizationFailed));

    // The topics exist now: their settings are looked at, their transactional ids taken over.
    assert!(said(&tool(&plant, "doctor")).contains("none is halted"));
    assert!(server.stop(Duration::from_secs(20)).await, "the server stops cleanly:\n{}", server.printed());
    let again = plant.serve().await;
    let ann = Client::new(&again.url, "ann");
    assert_eq!(ann.refused("registerLot", &lot(SITE, "M-1", "1", &[])).await, "DUPLICATE_LOT_CODE");

    let password = &kafka.options(SERVER)["sasl.password"];
    assert!(
        !format!("{}{}", server.printed(), again.printed()).contains(password.as_str()),
        "the password is in the log"
    );
    // Reading is not enough for a server: it would have to trust the topic unseen.
    let mut reader = plant.settings.clone();
    for name in ["username", "password"] {
        let value = kafka.options(INTEGRATOR)[&format!("sasl.{name}")].clone();
        reader.environment.push((format!("LOTLINE_KAFKA__CLIENT__SASL_{}", name.to_uppercase()), value));
    }
    let refused = lotline(&reader).arg("doctor").output().expect("the lotline binary starts");
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && complaint.contains("lacks DescribeConfigs"), "{complaint}");

    let denied = |user: &str, tenant: &str| {
        let principal = format!("Principal = User:{user} is Denied");
        kafka.log().lines().filter(|line| line.contains(&principal) && line.contains(tenant)).count()
    };
    assert!(denied(INTEGRATOR, neighbour) > 0, "the broker's log says who was refused what");
    assert_eq!(denied(SERVER, tenant), 0, "Lotline asks for nothing that the script does not give");
}

#[tokio::test]
async fn a_start_that_can_not_succeed_names_the_setting() {
    let kafka = stack::kafka_secured();
    let plant = secured_plant("locked", &kafka).await;
    let stranger = strange_authority(&plant.settings.folder);
    let cases = [
        ("LOTLINE_KAFKA__CLIENT__SASL_PASSWORD", "not-the-password", "sasl.password"),
        ("LOTLINE_KAFKA__CLIENT__SASL_USERNAME", "nobody", "sasl.username"),
        ("LOTLINE_KAFKA__CLIENT__SSL_CA_LOCATION", stranger.to_str().unwrap(), "ssl.ca.location"),
        ("LOTLINE_KAFKA__CLIENT__SASL_PASWORD", "not-the-password", "sasl.pasword"),
        ("LOTLINE_KAFKA__CLIENT__SECURITY_PROTOCOL", "PLAINTEXT", "security.protocol"),
        // All is right but the rights.
        ("LOTLINE_KAFKA__REPLICATION", "1", "infra/deploy/kafka-acls.sh"),
    ];
    said(&tool(&plant, "migrate"));
    let mut started = Vec::new();
    for (variable, value, named) in cases {
        let mut wrong = plant.settings.clone();
        wrong.environment.push((variable.to_owned(), value.to_owned()));
        for command in ["serve", "doctor"] {
            let child = start(lotline(&wrong).env("LOTLINE_API__BIND", "127.0.0.1:0").arg(command));
            started.push((format!("{command} with {variable}={value}"), named, child));
        }
    }
    let until = Instant::now() + START_DEADLINE;
    for (what, named, child) in started {
        let output = ended(child, until).await;
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{what} has succeeded");
        let complaints: Vec<_> = printed.lines().filter(|line| line.starts_with("lotline:")).collect();
        assert!(complaints.len() == 1 && complaints[0].contains(named), "{what}: {printed}");
        let password = &kafka.options(SERVER)["sasl.password"];
        assert!(!printed.contains("not-the-password") && !printed.contains(password.as_str()), "{what}: {printed}");
    }
}

#[tokio::test]
async fn the_configuration_is_shown_without_what_opens_doors() {
    let kafka = stack::kafka_secured();
    let mut plant = secured_plant("shown", &kafka).await;
    let key = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n";
    for (name, value) in [("SSL_KEY_PASSWORD", "hunter2"), ("SSL_KEY_PEM", key), ("SASL_PASWORD", "hunter2")] {
        plant.settings.environment.push((format!("LOTLINE_KAFKA__CLIENT__{name}"), value.to_owned()));
    }
    let shown = said(&tool(&plant, "config"));
    assert!(!shown.contains(kafka.options(SERVER)["sasl.password"].as_str()) && !shown.contains("hunter2"), "{shown}");
    for line in ["\"sasl.password\" = \"***\"", "\"ssl.key.password\" = \"***\"", "\"sasl.username\" = \"lotline\""] {
        assert!(shown.lines().any(|found| found == line), "{line} in {shown}");
    }
}

/// A plant on the secured Kafka, as an operator would configure it: options in the file, the password in the environment.
pub(crate) async fn secured_plant(name: &str, kafka: &Secured) -> Plant {
    let mut plant = Plant::new(name, Log::Kafka).await;
    plant.settings.brokers = Some(kafka.brokers.clone());
    plant.client = kafka.options(SERVER);
    let mut options = plant.client.clone();
    let password = options.remove("sasl.password").expect("the stack has made a password");
    let file = toml::to_string(&BTreeMap::from([("kafka", BTreeMap::from([("client", options)]))])).unwrap();
    std::fs::write(plant.settings.folder.join("lotline.toml"), file).unwrap();
    plant.settings.environment.push(("LOTLINE_KAFKA__CLIENT__SASL_PASSWORD".to_owned(), password));
    plant
}

/// Gives rights as the README tells an operator to: role, tenant and user of each, all at the same time.
pub(crate) fn grant<const N: usize>(kafka: &Secured, rights: [(&str, &str, &str); N]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/deploy/kafka-acls.sh");
    let path = format!("{}:{}", kafka.access.join("bin").display(), std::env::var("PATH").unwrap());
    let started = rights.map(|(role, tenant, user)| {
        let mut command = Command::new(script);
        command.args([role, tenant, user, "--bootstrap-server", &kafka.admin, "--command-config"]);
        start(command.arg(kafka.access.join("admin.properties")).env("PATH", &path))
    });
    for child in started {
        said(&child.wait_with_output().expect("the output of the script can be read"));
    }
}

fn integrator(kafka: &Secured, tenant: &str) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/integrator.py");
    Command::new(stack::python())
        .args([script, "--brokers", &kafka.brokers, "--tenant", tenant, "--client-config"])
        .arg(kafka.options_file(INTEGRATOR))
        .output()
        .expect("the Python of the test stack starts")
}

/// The integrator's client.
pub(crate) fn client(kafka: &Secured) -> ClientConfig {
    let mut config: ClientConfig = kafka.options(INTEGRATOR).into_iter().collect();
    config.set("bootstrap.servers", &kafka.brokers);
    config
}

/// Why the integrator may not write.
pub(crate) async fn write(kafka: &Secured, topic: &str) -> Option<RDKafkaErrorCode> {
    let producer: FutureProducer = client(kafka).set("message.timeout.ms", "10000").create().unwrap();
    let record = FutureRecord::to(topic).key("north").payload("forged");
    let delivery = producer.send_result(record).unwrap();
    delivery.await.unwrap().err().and_then(|(error, _)| error.rdkafka_error_code())
}

/// Why the integrator may not read as a member of this group; nothing when it gets its records.
pub(crate) fn join(kafka: &Secured, topic: &str, group: &str) -> Option<RDKafkaErrorCode> {
    let mut config = client(kafka);
    let consumer: BaseConsumer = config.set("group.id", group).set("auto.offset.reset", "earliest").create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let until = Instant::now() + START_DEADLINE;
    while Instant::now() < until {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(_)) => return None,
            Some(Err(KafkaError::MessageConsumption(code))) => return Some(code),
            Some(Err(_)) | None => {}
        }
    }
    panic!("{group} got neither a record nor a refusal from {topic}");
}

/// A certificate that has signed nothing here.
fn strange_authority(folder: &Path) -> PathBuf {
    let certificate = folder.join("stranger.pem");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=stranger",
        ])
        .args(["-keyout", "/dev/null", "-out"])
        .arg(&certificate)
        .output()
        .expect("openssl starts");
    said(&made);
    certificate
}

fn tool(plant: &Plant, command: &str) -> Output {
    lotline(&plant.settings).arg(command).output().expect("the lotline binary starts")
}

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

/// Waits for the end of what can't succeed; a silent hang fails the test.
async fn ended(mut child: Child, until: Instant) -> Output {
    while child.try_wait().expect("a child can be asked").is_none() {
        if Instant::now() >= until {
            drop(child.kill());
            panic!("no end within {START_DEADLINE:?}: {:?}", child.wait_with_output());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    child.wait_with_output().expect("its output can be read")
}

pub(crate) fn said(output: &Output) -> String {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}
