//! What operators load into other programs stays true: dashboard and alerts name metrics and labels that exist, alerts name pages that exist,
//! the compose file and the chart start what the binary knows. `make check-deploy` asks the programs themselves, where they are installed.

#![expect(clippy::unwrap_used, reason = "a file that can't be read fails its test, as it should")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

#[path = "deploy/promql.rs"]
mod promql;
#[path = "deploy/shapes.rs"]
mod shapes;

use promql::Query;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn yaml(path: &str) -> Value {
    serde_yaml_ng::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Every alert of alerts.yml.
fn alerts() -> Vec<Value> {
    let file = yaml("infra/deploy/prometheus/alerts.yml");
    array(&file["groups"]).flat_map(|group| array(&group["rules"])).cloned().collect()
}

/// Every query of the dashboard, with the title of its panel and what its legend is made of.
fn queries() -> Vec<(String, String, String)> {
    let dashboard: Value = serde_json::from_str(&text("infra/deploy/grafana/lotline.json")).unwrap();
    let mut found = Vec::new();
    for panel in array(&dashboard["panels"]) {
        for target in array(&panel["targets"]) {
            let part = |value: &Value| value.as_str().unwrap().to_owned();
            found.push((part(&panel["title"]), part(&target["expr"]), part(&target["legendFormat"])));
        }
    }
    found
}

/// Labels of each series that `/metrics` can show, beside those that Prometheus adds.
fn series() -> BTreeMap<String, BTreeSet<&'static str>> {
    // Those of Prometheus itself.
    let mut series = BTreeMap::from([("up".to_owned(), BTreeSet::new())]);
    for (name, labels, is_histogram) in lotline_infra::telemetry::described() {
        let labels: BTreeSet<&str> = labels.iter().copied().collect();
        if is_histogram {
            series.insert(format!("{name}_sum"), labels.clone());
            series.insert(format!("{name}_count"), labels.clone());
            series.insert(format!("{name}_bucket"), labels.into_iter().chain(["le"]).collect());
        } else {
            series.insert(name.to_owned(), labels);
        }
    }
    series
}

/// Labels that Prometheus, or what scrapes for it, puts on every series.
const SCRAPED: [&str; 3] = ["job", "instance", "pod"];

/// What is wrong with a query. Labels by which a whole query is grouped must be some metric's in it.
fn wrong(query: &str) -> Vec<String> {
    let series = series();
    let query = match Query::read(query) {
        Ok(query) => query,
        Err(reason) => return vec![reason],
    };
    let mut findings = Vec::new();
    let mut known: BTreeSet<&str> = SCRAPED.into_iter().collect();
    for (metric, matched) in &query.metrics {
        let Some(labels) = series.get(metric) else {
            findings.push(format!("there is no metric {metric}"));
            continue;
        };
        known.extend(labels);
        let unknown =
            matched.iter().filter(|label| !labels.contains(label.as_str()) && !SCRAPED.contains(&label.as_str()));
        findings.extend(unknown.map(|label| format!("{metric} has no label {label}")));
    }
    let unknown = query.grouped.iter().filter(|label| !known.contains(label.as_str()));
    findings.extend(unknown.map(|label| format!("no metric of the query has the label {label}")));
    if query.metrics.is_empty() {
        findings.push("it names no metric".to_owned());
    }
    findings
}

#[test]
fn every_query_asks_for_what_is_counted() {
    let mut findings = Vec::new();
    let alerts = alerts();
    assert!(alerts.len() > 15, "the alerts were found");
    for alert in &alerts {
        let of = alert["alert"].as_str().unwrap();
        findings.extend(wrong(alert["expr"].as_str().unwrap()).into_iter().map(|finding| format!("{of}: {finding}")));
    }
    let queries = queries();
    assert!(queries.len() > 30, "the dashboard's queries were found");
    for (title, query, _) in &queries {
        findings.extend(wrong(query).into_iter().map(|finding| format!("panel {title}: {finding}")));
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// `{{label}}` and `$labels.label` come out empty when the label is not there.
#[test]
fn every_text_shows_labels_that_its_query_keeps() {
    let series = series();
    let mut findings = Vec::new();
    let mut check = |of: &str, query: &str, shown: Vec<String>| {
        let query = Query::read(query).unwrap();
        let of_metrics = query.metrics.iter().flat_map(|(metric, _)| series[metric].iter().copied());
        let all: BTreeSet<&str> = of_metrics.chain(SCRAPED).collect();
        for label in shown {
            let kept = query.kept.as_ref().map_or(all.contains(label.as_str()), |kept| kept.contains(&label));
            if !kept || query.dropped.contains(&label) {
                findings.push(format!("{of}: {label} is not there"));
            }
        }
    };
    for (title, query, legend) in queries() {
        check(&title, &query, between(&legend, "{{", "}}"));
    }
    for alert in alerts() {
        let summary = alert["annotations"]["summary"].as_str().unwrap();
        let shown = between(summary, "{{ $labels.", " }}");
        check(alert["alert"].as_str().unwrap(), alert["expr"].as_str().unwrap(), shown);
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

fn between(text: &str, open: &str, close: &str) -> Vec<String> {
    let parts = text.split(open).skip(1);
    parts.filter_map(|part| part.split_once(close).map(|(inside, _)| inside.to_owned())).collect()
}

#[test]
fn every_alert_says_how_bad_it_is_and_which_page_helps() {
    let mut pages = BTreeSet::new();
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap().to_owned();
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["page", "ticket"].contains(&severity), "{name} has severity '{severity}'");
        let page = alert["annotations"]["runbook_url"].as_str().unwrap_or_default().to_owned();
        assert!(page.starts_with("infra/docs/runbook/"), "{name} names the page '{page}'");
        assert!(root().join(&page).is_file(), "{name}: {page} is not there");
        pages.insert(page);
        assert!(names.insert(name.clone()), "{name} stands twice");
    }
    let folder = std::fs::read_dir(root().join("infra/docs/runbook")).unwrap();
    for entry in folder {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // The list of the pages, and what is done by plan.
        let led_to = pages.contains(&format!("infra/docs/runbook/{name}"));
        assert!(led_to || ["README.md", "backup-and-restore.md"].contains(&name.as_str()), "no alert leads to {name}");
        assert!(
            text("infra/docs/runbook/README.md").contains(&format!("({name})")) || name == "README.md",
            "{name} is not listed"
        );
    }
}

/// promtool runs these; that each alert has one is told here.
#[test]
fn every_alert_is_seen_firing_by_a_test() {
    let tests = yaml("infra/deploy/prometheus/alerts.test.yml");
    let cases = array(&tests["tests"]).flat_map(|test| array(&test["alert_rule_test"]));
    let firing: BTreeSet<&str> = cases
        .filter(|case| array(&case["exp_alerts"]).next().is_some())
        .map(|case| case["alertname"].as_str().unwrap())
        .collect();
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        assert!(firing.contains(name), "alerts.test.yml does not show {name} firing");
    }
}

#[test]
fn prometheus_loads_the_alerts_and_asks_both_nodes() {
    let config = yaml("infra/deploy/prometheus/prometheus.yml");
    assert_eq!(config["rule_files"], serde_json::json!(["alerts.yml"]));
    let targets = &config["scrape_configs"][0]["static_configs"][0]["targets"];
    assert_eq!(*targets, serde_json::json!(["127.0.0.1:8080", "127.0.0.1:8081"]), "the nodes of compose.yaml");
}

#[test]
fn planted_mistakes_are_found() {
    let fine = "sum by (route) (rate(lotline_http_requests_total{status=~\"5..\", job=\"a\"}[5m])) > 0.01";
    assert_eq!(wrong(fine), Vec::<String>::new());
    for planted in [
        "lotline_no_such_metric > 0",
        "lotline_http_requests_total{code=\"500\"}",
        "sum by (device) (lotline_http_requests_total)",
        "histogram_quantile(0.9, rate(lotline_http_request_seconds[5m]))",
        "lotline_build_info and on (site) lotline_build_info",
        "no_function(lotline_build_info)",
        "time() > 5",
    ] {
        assert_eq!(wrong(planted).len(), 1, "{planted}: {:?}", wrong(planted));
    }
}
