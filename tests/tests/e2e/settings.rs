//! Settings in layers, and logs for machines.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use lotline_tests::client::{Client, lot};
use lotline_tests::server::{Log, binary, lotline};
use lotline_tests::stack;
use serde_json::Value;

use crate::site::{Plant, SITE};

fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(stack::unique("settings"));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// `lotline config` in a folder, with nothing of this process's own settings.
fn config(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LOTLINE_") || name.starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).arg("config").args(arguments).envs(environment.iter().copied());
    command.output().expect("the lotline binary starts")
}

fn shown(output: &Output) -> toml::Table {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).parse().expect("the configuration is shown as TOML")
}

fn refused(output: &Output) -> String {
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && complaint.lines().count() == 1, "one line says what is wrong: {complaint}");
    complaint
}

#[test]
fn the_environment_beats_the_file_and_the_file_beats_the_defaults() {
    let folder = folder();
    let queue = |arguments: &[&str], environment: &[(&str, &str)]| {
        let shown = shown(&config(&folder, arguments, environment));
        shown["log"]["queue"].as_integer().unwrap()
    };
    let variable = ("LOTLINE_LOG__QUEUE", "3");
    assert_eq!(queue(&[], &[]), 8_192, "the default");
    assert_eq!(queue(&[], &[variable]), 3, "the environment beats the default");
    std::fs::write(folder.join("lotline.toml"), "[log]\nqueue = 1\nmax_batch = 7\n").unwrap();
    std::fs::write(folder.join("other.toml"), "[log]\nqueue = 2\n").unwrap();
    assert_eq!(queue(&[], &[]), 1, "lotline.toml in the working directory beats the default");
    assert_eq!(queue(&[], &[variable]), 3, "the environment beats lotline.toml");
    assert_eq!(queue(&["--config", "other.toml"], &[]), 2, "the file that is named is read");
    assert_eq!(queue(&["-c", "other.toml"], &[variable]), 3, "the environment beats the file that is named");

    let log = |arguments: &[&str]| shown(&config(&folder, arguments, &[]))["log"]["max_batch"].as_integer().unwrap();
    assert_eq!((log(&[]), log(&["--config", "other.toml"])), (7, 1_024), "in place of lotline.toml, not on top of it");
    let missing = refused(&config(&folder, &["--config", "nosuch.toml"], &[]));
    assert!(missing.contains("nosuch.toml does not exist"), "{missing}");
}

#[test]
fn options_of_kafka_come_in_layers_too() {
    let folder = folder();
    let file = "[kafka.client]\n\"security.protocol\" = \"ssl\"\n\"ssl.ca.location\" = \"ca.pem\"\n";
    std::fs::write(folder.join("lotline.toml"), file).unwrap();
    let shown = shown(&config(&folder, &[], &[("LOTLINE_KAFKA__CLIENT__SECURITY_PROTOCOL", "sasl_ssl")]));
    let client = &shown["kafka"]["client"];
    assert_eq!(client["security.protocol"].as_str(), Some("sasl_ssl"), "the environment beats the file: {client}");
    assert_eq!(client["ssl.ca.location"].as_str(), Some("ca.pem"), "and leaves the rest of it: {client}");
}

#[test]
fn a_collector_of_spans_is_named_by_three_layers_and_its_headers_are_shown_to_nobody() {
    let folder = folder();
    let standard = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://standard:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20hunter2,x-team=hunter2"),
        ("OTEL_SERVICE_NAME", "standard"),
    ];
    let otlp = |environment: &[(&str, &str)]| {
        let output = config(&folder, &[], environment);
        assert!(!String::from_utf8_lossy(&output.stdout).contains("hunter2"), "it is a secret");
        shown(&output)["telemetry"]["otlp"].as_table().unwrap().clone()
    };
    assert!(!otlp(&[]).contains_key("endpoint"), "by default there is none");
    let shown = otlp(&standard);
    assert_eq!(shown["endpoint"].as_str(), Some("http://standard:4318"));
    assert_eq!(shown["service_name"].as_str(), Some("standard"));
    assert_eq!(shown["headers"].as_table().unwrap().len(), 2, "{shown}");
    std::fs::write(folder.join("lotline.toml"), "[telemetry.otlp]\nendpoint = \"http://file:4318\"\n").unwrap();
    let shown = otlp(&standard);
    assert_eq!(shown["endpoint"].as_str(), Some("http://file:4318"), "the file beats what is there for all programs");
    assert_eq!(shown["service_name"].as_str(), Some("standard"), "and leaves the rest of it");
    let own = [
        ("LOTLINE_TELEMETRY__OTLP__ENDPOINT", "http://own:4318"),
        ("LOTLINE_TELEMETRY__OTLP__HEADERS__X_API_KEY", "hunter2"),
    ];
    let shown = otlp(&[&standard[..], &own].concat());
    assert_eq!(shown["endpoint"].as_str(), Some("http://own:4318"), "Lotline's own variables beat the file");
    assert!(shown["headers"].as_table().unwrap().contains_key("x-api-key"), "{shown}");

    let complaint = refused(&config(&folder, &[], &[("LOTLINE_TELEMETRY__OTLP__SAMPLE_RATIO", "2")]));
    assert!(complaint.contains("telemetry.otlp.sample_ratio"), "{complaint}");
    let with_password = [("LOTLINE_TELEMETRY__OTLP__ENDPOINT", "http://ann:hunter2@host:4318")];
    let complaint = refused(&config(&folder, &[], &with_password));
    assert!(complaint.contains("telemetry.otlp") && !complaint.contains("hunter2"), "{complaint}");
}

#[test]
fn what_is_not_known_is_refused_in_every_layer() {
    let folder = folder();
    for (file, name) in [
        ("[log]\nqeue = 1\n", "qeue"),
        ("[lgo]\nqueue = 1\n", "lgo"),
        ("[api.limits]\ndetph = 1\n", "detph"),
        ("[collector.publisher]\nmax_batch = 1\n", "max_batch"),
    ] {
        std::fs::write(folder.join("named.toml"), file).unwrap();
        let complaint = refused(&config(&folder, &["--config", "named.toml"], &[]));
        assert!(complaint.contains(&format!("`{name}`")) && complaint.contains("named.toml"), "{complaint}");
    }
    for (variable, name) in [
        ("LOTLINE_LOG__QEUE", "qeue"),
        ("LOTLINE_LGO__QUEUE", "lgo"),
        ("LOTLINE_API__LIMITS__DETPH", "detph"),
        ("LOTLINE_COLLECTOR__PUBLISHER__MAX_BATCH", "max_batch"),
        ("LOTLINE_TELEMETRY__OTLP__ENDPIONT", "endpiont"),
    ] {
        let complaint = refused(&config(&folder, &[], &[(variable, "1")]));
        assert!(complaint.contains(&format!("`{name}`")) && complaint.contains("LOTLINE_"), "{complaint}");
    }
    let complaint = refused(&config(&folder, &[], &[("LOTLINE_LOG__QUEUE", "many")]));
    assert!(complaint.contains("LOG.QUEUE") || complaint.contains("log.queue"), "{complaint}");
}

/// Who decides may be named by variables that are no settings.
#[test]
fn the_actor_and_the_token_of_a_tool_are_no_settings() {
    let output = config(&folder(), &[], &[("LOTLINE_ACTOR", "ann"), ("LOTLINE_TOKEN", "secret")]);
    assert!(!shown(&output).contains_key("token"));
}

#[tokio::test]
async fn logs_for_machines_are_one_json_object_a_line() {
    let mut plant = Plant::new("json", Log::Kafka).await;
    let variables = [("FORMAT", "json"), ("LEVEL", "debug")];
    let variables = variables.map(|(name, value)| (format!("LOTLINE_TELEMETRY__{name}"), value.to_owned()));
    plant.settings.environment.extend(variables);
    let mut server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    ann.mutate("registerLot", "", &lot(SITE, "L-1", "10", &[])).await;
    assert_eq!(ann.refused("registerLot", &lot(SITE, "L-1", "10", &[])).await, "DUPLICATE_LOT_CODE");
    assert!(server.stop(Duration::from_mins(1)).await, "{}", server.printed());
    let printed = server.printed();
    let mut recovered = 0;
    for line in printed.lines() {
        let object = object(line);
        recovered += usize::from(object["message"] == "partition recovered" && object["partition"].is_number());
    }
    assert_eq!(recovered, 4, "fields are fields:\n{printed}");

    // The most important line of all: why it did not start.
    let mut command = lotline(&plant.settings);
    let output = command.args(["serve", "--development"]).env("LOTLINE_API__BIND", "0.0.0.0:0").output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = object(complaint.lines().last().unwrap_or_default());
    assert!(!output.status.success() && last["level"] == "ERROR", "{complaint}");
    assert!(last["error"].as_str().unwrap().contains("only a loopback address"), "{complaint}");
}

fn object(line: &str) -> Value {
    let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    for name in ["timestamp", "level", "target"] {
        assert!(object[name].is_string(), "no {name}: {line}");
    }
    object
}
