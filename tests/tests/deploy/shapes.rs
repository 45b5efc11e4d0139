//! The compose file and the chart, as far as it can be told without Docker and Kubernetes.

use clap::Parser;
use lotline_infra::cli::{Cli, Command, Role};
use lotline_infra::config::Config;
use serde_json::{Value, json};

use crate::{text, yaml};

/// The arguments of a container as the binary reads them.
fn command(arguments: &Value) -> Cli {
    let arguments = arguments.as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
    Cli::try_parse_from(std::iter::once("lotline").chain(arguments)).unwrap()
}

#[test]
fn compose_starts_two_nodes_that_know_each_other() {
    let mut compose: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text("infra/deploy/compose.yaml")).unwrap();
    compose.apply_merge().unwrap();
    let compose: Value = serde_yaml_ng::from_value(compose).unwrap();
    let services = compose["services"].as_object().unwrap();
    assert_eq!(
        services.keys().collect::<Vec<_>>(),
        ["kafka", "login", "lotline-1", "lotline-2", "migrate", "postgres"]
    );
    let mut seen = Vec::new();
    for (name, port, collects) in [("lotline-1", 8080, true), ("lotline-2", 8081, false)] {
        let service = &services[name];
        let set = |key: &str| service["environment"][key].as_str().unwrap().to_owned();
        // On the containers' network, and of this machine on loopback only.
        assert_eq!(set("LOTLINE_API__BIND"), "0.0.0.0:8080", "{name}");
        assert_eq!(set("LOTLINE_CLUSTER__ADDRESS"), format!("http://{name}:8080"), "{name}");
        assert_eq!(service["ports"], json!([format!("127.0.0.1:{port}:8080")]), "{name}");
        assert_eq!(set("LOTLINE_LOG__KIND"), "kafka", "{name}");
        let Command::Serve(serve) = command(&service["command"]).command else { panic!("{name} serves") };
        assert_eq!(serve.roles.contains(&Role::Collector), collects, "one node reads machines");
        assert!([Role::Api, Role::Writer, Role::Projector].iter().all(|role| serve.roles.contains(role)), "{name}");
        // Whatever is asked is asked by a login that is made before the node starts.
        assert!(set("LOTLINE_POSTGRES__SERVE_URL").starts_with("postgres://lotline_app%3Adairy:"), "{name}");
        assert_eq!(set("LOTLINE_TENANT__ID"), "dairy", "{name}");
        assert_eq!(service["depends_on"]["login"]["condition"], "service_completed_successfully", "{name}");
        for needed in ["kafka", "postgres"] {
            assert_eq!(service["depends_on"][needed]["condition"], "service_healthy", "{name}");
        }
        let probe = service["healthcheck"]["test"].as_array().unwrap();
        assert_eq!(probe[..2], [json!("CMD"), json!("lotline")], "{name}");
        let health = command(&json!(&probe[2..]));
        assert!(matches!(health.command, Command::Health(_)), "{name}");
        for volume in service["volumes"].as_array().unwrap() {
            let volume = volume.as_str().unwrap().split(':').next().unwrap();
            assert!(compose["volumes"].get(volume).is_some(), "{name} mounts {volume}");
            seen.push(volume.to_owned());
        }
        seen.push(set("LOTLINE_CLUSTER__NODE"));
    }
    assert!(matches!(command(&services["migrate"]["command"]).command, Command::Migrate));
    assert!(services["migrate"]["environment"].get("LOTLINE_POSTGRES__SERVE_URL").is_none());
    assert_eq!(services["login"]["depends_on"]["migrate"]["condition"], "service_completed_successfully");
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "each node has a name and a disk of its own: {seen:?}");
    for (name, service) in services {
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name} publishes {port}");
        }
    }
}

#[test]
fn the_chart_is_of_this_version_and_its_configuration_is_read() {
    let chart = yaml("infra/deploy/helm/lotline/Chart.yaml");
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let values = yaml("infra/deploy/helm/lotline/values.yaml");
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("chart.toml");
    std::fs::write(&file, values["config"].as_str().unwrap()).unwrap();
    let config = Config::load(Some(&file)).unwrap();
    assert_eq!(config.kafka.replication, 3);
    let roles = values["roles"].as_array().unwrap().iter().map(|role| role.as_str().unwrap()).collect::<Vec<_>>();
    let serve = command(&json!(["serve", "--roles", roles.join(",")]));
    let Command::Serve(serve) = serve.command else { panic!("it serves") };
    assert!(!serve.roles.contains(&Role::Collector), "machines are read by a node of its own");
}

#[test]
fn the_probes_of_the_chart_are_commands_of_the_binary() {
    let pod = text("infra/deploy/helm/lotline/templates/_helpers.tpl");
    let lines = pod.lines().filter_map(|line| line.trim().strip_prefix("command: "));
    let probes: Vec<Vec<String>> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(probes.len(), 3, "startup, liveness, readiness");
    for probe in probes {
        let parsed = Cli::try_parse_from(&probe).unwrap();
        assert!(matches!(parsed.command, Command::Health(_)), "{probe:?}");
    }
    assert!(pod.contains("value: 0.0.0.0:8080") && pod.contains("containerPort: 8080"), "others reach the node");
}

/// Commands of the binary that stand in backticks, or in blocks that are marked as shell.
fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (index, part) in page.split("```").enumerate() {
        let shell = part.strip_prefix("sh\n");
        if index % 2 == 0 {
            found.extend(part.split('`').skip(1).step_by(2).map(str::to_owned));
        } else if let Some(lines) = shell {
            found.extend(lines.lines().map(|line| line.split('#').next().unwrap_or_default().trim().to_owned()));
        }
    }
    found.retain(|command| command.starts_with("lotline "));
    found
}

#[test]
fn the_runbook_uses_commands_that_exist() {
    let mut seen = 0;
    for entry in std::fs::read_dir(crate::root().join("infra/docs/runbook")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        for command in commands(&text(&format!("infra/docs/runbook/{name}"))) {
            // Placeholders stand for what is required; help is shown when everything before it is known.
            let words = command.split_whitespace().chain(["--help"]);
            let kind = Cli::try_parse_from(words).unwrap_err().kind();
            assert_eq!(kind, clap::error::ErrorKind::DisplayHelp, "{name}: {command}");
            seen += 1;
        }
    }
    assert!(seen > 20, "the commands were found");
    assert_eq!(
        commands("`lotline a` and `b`\n```sh\nlotline c # d\n```\n```\nlotline e\n```"),
        ["lotline a", "lotline c"]
    );
}
