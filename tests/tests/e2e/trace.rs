//! A lot followed both ways through the API: what is found and how much, page by page, by whom, and as of when.

use lotline_domain::access::role::Role;
use lotline_tests::client::lot;
use serde_json::{Value, json};

use crate::visitor::{ADMIN, House};

const QUERY: &str = "query($lot: ID!, $way: TraceDirection!, $at: PositionToken, $first: Int!, $after: String, $ends: Boolean = false, $asOf: DateTime, \
    $known: DateTime) { trace(lot: $lot, direction: $way, consistentWith: $at, asOf: $asOf, asKnownAt: $known) { \
    start { code } source complete gaps { reason lots message } \
    backward { lots ends depth edges } forward { lots ends depth edges } \
    lots(first: $first, after: $after, endsOnly: $ends) { pageInfo { hasNextPage endCursor } \
    nodes { depth direction isEnd attributed { value unit } lot { code site } } } } }";

/// Milk and rennet become two curds, one of them cheese; all of it in kilograms.
struct Dairy {
    house: House,
    ann: String,
    ids: Vec<Value>,
    at: Value,
}

impl Dairy {
    async fn new(name: &str, environment: &[(&str, &str)]) -> (Self, lotline_domain::id::UserId) {
        let (house, admin) = House::with_sites(name, &["north", "south"]).await;
        let mut house = house;
        if !environment.is_empty() {
            let more = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            house.plant.settings.environment.extend(more);
            house.server.kill();
            house.serve_again().await;
        }
        let ann = house.bearer(ADMIN).await;
        let (mut ids, mut at) = (Vec::new(), Value::Null);
        for (code, kilograms, parents) in [
            ("milk", "100", vec![]),
            ("rennet", "2", vec![]),
            ("curd-1", "50", vec![("milk", "60"), ("rennet", "1")]),
            ("curd-2", "30", vec![("milk", "40")]),
            ("cheese", "16", vec![("curd-1", "20"), ("curd-2", "3")]),
        ] {
            let payload =
                house.mutate(&ann, "registerLot", "lotId position", &lot("north", code, kilograms, &parents)).await;
            ids.push(payload["lotId"].clone());
            at = payload["position"].clone();
        }
        (Self { house, ann, ids, at }, admin)
    }

    async fn trace(&self, bearer: &str, lot: usize, way: &str, more: Value) -> Value {
        let mut variables = json!({ "lot": self.ids[lot], "way": way, "at": self.at, "first": 100 });
        variables.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.house.data(bearer, QUERY, &variables).await["trace"].take()
    }
}

/// `code depth amount` of each lot.
fn shown(trace: &Value) -> Vec<String> {
    let nodes = trace["lots"]["nodes"].as_array().unwrap_or_else(|| panic!("no lots: {trace}")).iter();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    nodes
        .map(|node| {
            assert_eq!(node["attributed"]["unit"], "KGM", "{node}");
            format!("{} {} {}", text(&node["lot"]["code"]), node["depth"], text(&node["attributed"]["value"]))
        })
        .collect()
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

async fn follows_both_ways(dairy: &Dairy, source: &str) {
    let forward = dairy.trace(&dairy.ann, 0, "FORWARD", json!({})).await;
    assert_eq!((&forward["source"], &forward["complete"]), (&json!(source), &json!(true)), "{forward}");
    // 60 of 100 and 20 of 50; 40 of 100 and 3 of 30.
    assert_eq!(sorted(shown(&forward)), ["cheese 2 28", "curd-1 1 60", "curd-2 1 40"]);
    assert_eq!(forward["forward"], json!({ "lots": 3, "ends": 1, "depth": 2, "edges": 4 }));
    assert_eq!(forward["backward"], Value::Null);
    let backward = dairy.trace(&dairy.ann, 4, "BACKWARD", json!({})).await;
    assert_eq!(sorted(shown(&backward)), ["curd-1 1 20", "curd-2 1 3", "milk 2 28", "rennet 2 0.4"]);
    let ends = dairy.trace(&dairy.ann, 4, "BACKWARD", json!({ "ends": true })).await;
    assert_eq!(sorted(shown(&ends)), ["milk 2 28", "rennet 2 0.4"]);
    let both = dairy.trace(&dairy.ann, 2, "BOTH", json!({})).await;
    assert_eq!(sorted(shown(&both)), ["cheese 1 20", "milk 1 60", "rennet 1 1"]);
    assert_eq!(both["lots"]["nodes"][2]["direction"], "FORWARD");
}

#[tokio::test]
async fn a_lot_is_followed_both_ways() {
    let (dairy, _) = Dairy::new("trace", &[]).await;
    let query = "{ projectionStatus { readModel graph { state } } }";
    loop {
        let status = dairy.house.data(&dairy.ann, query, &json!({})).await;
        let all = status["projectionStatus"].as_array().unwrap();
        assert!(all.iter().all(|one| (one["readModel"] == "genealogy") == one["graph"].is_object()), "{status}");
        let following = |one: &Value| one["graph"].is_null() || one["graph"]["state"] == "FOLLOWING";
        if all.iter().all(following) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    follows_both_ways(&dairy, "MEMORY").await;

    let (mut pages, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = dairy.trace(&dairy.ann, 2, "BOTH", json!({ "first": 1, "after": after })).await;
        pages.extend(shown(&page));
        after = page["lots"]["pageInfo"]["endCursor"].clone();
        if page["lots"]["pageInfo"]["hasNextPage"] != true {
            break;
        }
    }
    assert_eq!(pages, shown(&dairy.trace(&dairy.ann, 2, "BOTH", json!({})).await));
    let bad = json!({ "lot": dairy.ids[0], "way": "BOTH", "first": 1, "after": "x" });
    dairy.house.graphql(&[("authorization", &dairy.ann)], QUERY, &bad).await.is(200, "BAD_USER_INPUT");

    let past = json!({ "asOf": "2020-01-01T00:00:00Z" });
    let past = dairy.trace(&dairy.ann, 0, "FORWARD", past).await;
    assert_eq!((&past["source"], shown(&past).len()), (&json!("TABLES"), 0));
    let known = dairy.trace(&dairy.ann, 0, "FORWARD", json!({ "known": "2100-01-01T00:00:00Z" })).await;
    assert_eq!(shown(&known).len(), 3);
}

#[tokio::test]
async fn without_a_graph_the_tables_say_the_same() {
    let (dairy, _) = Dairy::new("trace-off", &[("LOTLINE_GRAPH__ENABLED", "false")]).await;
    follows_both_ways(&dairy, "TABLES").await;
}

#[tokio::test]
async fn the_graph_is_for_validators_at_their_sites() {
    let (dairy, admin) = Dairy::new("trace-rights", &[]).await;
    let house = &dairy.house;
    let elsewhere = house.mutate(&dairy.ann, "registerLot", "lotId position", &lot("south", "beer", "9", &[])).await;
    let operator = house.member(admin, "olga", None, Role::Operator).await;
    let limited = house.member(admin, "aud", Some("north"), Role::Auditor).await;
    let (olga, aud) = (house.token(operator).await, house.token(limited).await);
    for bearer in [&olga, &aud] {
        house.until(&[("authorization", bearer)], 200).await;
    }
    let asked = json!({ "lot": dairy.ids[0], "way": "BOTH", "first": 1 });
    house.graphql(&[("authorization", &olga)], QUERY, &asked).await.is(200, "FORBIDDEN");
    let parents = "query($id: ID!) { lot(id: $id) { parents { parent { code } } } }";
    let page = house.data(&olga, parents, &json!({ "id": dairy.ids[4] })).await;
    assert_eq!(
        page["lot"]["parents"].as_array().map(Vec::len),
        Some(2),
        "an operator sees the next ones on a lot's page"
    );

    assert_eq!(shown(&dairy.trace(&aud, 0, "FORWARD", json!({})).await).len(), 3);
    let south = json!({ "lot": elsewhere["lotId"], "way": "BOTH", "first": 1, "at": elsewhere["position"] });
    assert_eq!(house.data(&aud, QUERY, &south).await["trace"], Value::Null, "a lot of another site is not there");
    assert_eq!(house.data(&dairy.ann, QUERY, &south).await["trace"]["start"]["code"], "beer");
}
