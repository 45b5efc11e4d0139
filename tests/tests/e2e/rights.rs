//! Lists and streams that name no site or pipeline show what their caller may see, and follow what becomes of it.

use std::time::{Duration, Instant};

use lotline_domain::access::command::{AccessCommand, IssueApiKey};
use lotline_domain::access::role::{Role, RoleSet};
use lotline_domain::id::{ApiKeyId, StreamKey, TenantId, UserId};
use lotline_domain::port::Clock;
use lotline_tests::client::{decision, key, lot};
use serde_json::{Value, json};

use crate::nodes::node;
use crate::visitor::{ADMIN, Feed, House, PATIENCE};

const SITES: [&str; 3] = ["north", "south", "west"];

/// Takes all pages of two, and gives what `shown` picks of each node.
async fn paged(house: &House, bearer: &str, field: &str, shown: &str) -> Vec<String> {
    let query = format!(
        "query($after: String) {{ {field}(first: 2, after: $after) {{ \
         pageInfo {{ hasNextPage endCursor }} nodes {{ {shown} }} }} }}"
    );
    let (mut found, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = house.data(bearer, &query, &json!({ "after": after })).await[field].take();
        let nodes = page["nodes"].as_array().unwrap();
        found.extend(nodes.iter().map(|node| node[shown].as_str().unwrap().to_owned()));
        if page["pageInfo"]["hasNextPage"] != true {
            return found;
        }
        assert_eq!(nodes.len(), 2, "a page before the last is full: {page}");
        after = page["pageInfo"]["endCursor"].clone();
    }
}

/// A lot with a decision on it, visible to all.
async fn lot_at(house: &House, ann: &str, site: &str, code: &str) -> Value {
    let registered = house.mutate(ann, "registerLot", "lotId", &lot(site, code, "1", &[])).await;
    let judged = house.mutate(ann, "recordQcDecision", "position", &decision(site, code, "PASS")).await;
    let query = "query($at: PositionToken) { lots(first: 1, consistentWith: $at) { nodes { id } } \
                 qcDecisions(first: 1, consistentWith: $at) { nodes { id } } }";
    house.data(ann, query, &json!({ "at": judged["position"] })).await;
    registered["lotId"].clone()
}

async fn signal_at(house: &House, ann: &str, site: &str, name: &str) {
    let address = json!({ "modbus": { "unit": 1, "table": "COILS", "address": 0 } });
    let given =
        json!({ "site": site, "name": name, "unit": "1", "dataType": "BOOL", "device": "d", "address": address });
    let declared = house.mutate(ann, "declareSignal", "position", &given).await;
    assert_eq!(declared["userErrors"], json!([]), "{declared}");
    let query = "query($at: PositionToken) { signals(first: 1, consistentWith: $at) { nodes { id } } }";
    house.data(ann, query, &json!({ "at": declared["position"] })).await;
}

async fn set_roles(house: &House, admin: UserId, user: UserId, site: &str, roles: &[Role]) {
    let (site, roles) = (Some(site.to_owned()), RoleSet::of(roles));
    house.decide(admin.actor(), AccessCommand::ChangeMembership { user_id: user, site, roles }).await;
}

/// Sorted, since sites are decided side by side.
fn sorted(mut codes: Vec<String>) -> Vec<String> {
    codes.sort();
    codes
}

#[tokio::test]
async fn lists_show_the_sites_of_the_caller() {
    let (house, admin) = House::with_sites("rights-lists", &SITES).await;
    let ann = house.bearer(ADMIN).await;
    let user = house.member(admin, "olga", Some("north"), Role::Operator).await;
    set_roles(&house, admin, user, "south", &[Role::Viewer]).await;
    let olga = house.token(user).await;
    house.until(&[("authorization", &olga)], 200).await;
    let mut ids = Vec::new();
    for number in 1..=3 {
        for site in SITES {
            ids.push(lot_at(&house, &ann, site, &format!("{site}-{number}")).await);
            signal_at(&house, &ann, site, &format!("{site}.{number}")).await;
        }
    }

    let newest_first = ["south-3", "north-3", "south-2", "north-2", "south-1", "north-1"];
    assert_eq!(paged(&house, &olga, "lots", "code").await, newest_first);
    let judged = ["south", "north", "south", "north", "south", "north"];
    assert_eq!(paged(&house, &olga, "qcDecisions", "site").await, judged);
    let signals = ["north.1", "north.2", "north.3", "south.1", "south.2", "south.3"];
    assert_eq!(paged(&house, &olga, "signals", "name").await, signals);
    assert_eq!(paged(&house, &ann, "lots", "code").await.len(), 9, "who may look up everything has all");
    assert_eq!(house.data(&olga, "{ sites }", &json!({})).await["sites"], json!(["north", "south"]));

    let (north, west) = (&ids[0], &ids[2]);
    let by_id = "query($id: ID!) { lot(id: $id) { code } node(id: $id) { id } }";
    let seen = house.data(&olga, by_id, &json!({ "id": north })).await;
    assert_eq!((&seen["lot"]["code"], &seen["node"]["id"]), (&json!("north-1"), north));
    let hidden = house.data(&olga, by_id, &json!({ "id": west })).await;
    assert_eq!(hidden, json!({ "lot": null, "node": null }));
    let elsewhere = house
        .graphql(&[("authorization", &olga)], "{ lots(site: \"west\", first: 1) { nodes { code } } }", &json!({}))
        .await;
    elsewhere.is(200, "FORBIDDEN");

    let robot = site_key(&house, admin, "west").await;
    let answer =
        house.graphql(&[("x-api-key", &robot)], "{ sites lots(first: 9) { nodes { site } } }", &json!({})).await;
    let west = json!({ "site": "west" });
    assert_eq!(answer.body["data"], json!({ "sites": ["west"], "lots": { "nodes": [west, west, west] } }));

    set_roles(&house, admin, user, "south", &[]).await;
    assert_eq!(sorted(paged(&house, &olga, "lots", "code").await), ["north-1", "north-2", "north-3"]);
    set_roles(&house, admin, user, "north", &[]).await;
    let answer = house.graphql(&[("authorization", &olga)], "{ lots(first: 1) { nodes { code } } }", &json!({})).await;
    answer.is(200, "FORBIDDEN");
    assert_eq!(house.data(&olga, "{ sites }", &json!({})).await["sites"], json!([]));
}

/// The text of a key for one site.
async fn site_key(house: &House, admin: UserId, site: &str) -> String {
    let now = lotline_adapters::clock::SystemClock.now();
    let id = house
        .decide(
            admin.actor(),
            AccessCommand::IssueApiKey(IssueApiKey {
                label: "robot".into(),
                prefix: "robot".into(),
                roles: RoleSet::of(&[Role::Viewer]),
                sites: vec![site.to_owned()],
                expires_at: now.plus_micros(3_600_000_000),
            }),
        )
        .await;
    let tenant = TenantId::new(house.plant.settings.tenant.clone()).unwrap();
    let key = ApiKeyId(id.derive(&tenant, &StreamKey::Tenant, &admin.actor()));
    house.steward.identity.api_keys.issue(key).await.unwrap().expose().to_owned()
}

/// Reads on until something is told, and gives all that was told until then.
async fn told(feed: &mut Feed, pointer: &str, last: &str) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let item = feed.next().await.expect("the stream goes on");
        let found = item.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer}: {item}"));
        seen.push(found.to_owned());
        if found == last {
            return seen;
        }
    }
}

/// What was decided before may still be told.
async fn ended(mut feed: Feed) {
    let mut item = feed.next().await.expect("it is said why");
    while item.get("errors").is_none() {
        item = feed.next().await.expect("it is said why");
    }
    assert_eq!(item["errors"][0]["extensions"]["code"], "FORBIDDEN", "{item}");
    assert_eq!(feed.next().await, None, "that is the end");
}

#[tokio::test]
async fn a_stream_follows_the_roles_at_sites() {
    let (house, admin) = House::with_sites("rights-live", &SITES).await;
    let ann = house.bearer(ADMIN).await;
    let user = house.member(admin, "vic", Some("north"), Role::Viewer).await;
    set_roles(&house, admin, user, "south", &[Role::Viewer]).await;
    let vic = house.token(user).await;
    house.until(&[("authorization", &vic)], 200).await;
    let start = lot_at(&house, &ann, "north", "start").await;
    assert!(start.is_string());
    let mut lots = house.follow(&vic, "subscription { lotChanged { lots { code } } }").await;
    let mut decisions = house.follow(&vic, "subscription { qcDecisionRecorded { decision { lot { code } } } }").await;
    let (lot, judged) = ("/data/lotChanged/lots/0/code", "/data/qcDecisionRecorded/decision/lot/code");

    for code in ["west-1", "south-1", "north-1"] {
        lot_at(&house, &ann, code.split_once('-').unwrap().0, code).await;
    }
    let mut seen = told(&mut decisions, judged, "north-1").await;
    lot_at(&house, &ann, "north", "north-2").await;
    seen.extend(told(&mut decisions, judged, "north-2").await);
    assert_eq!(sorted(seen), ["north-1", "north-2", "south-1"], "nothing of the west");
    let seen = told(&mut lots, lot, "north-2").await;
    assert!(seen.contains(&"south-1".to_owned()) && !seen.contains(&"west-1".to_owned()), "{seen:?}");

    set_roles(&house, admin, user, "south", &[]).await;
    for code in ["south-3", "north-3", "north-4"] {
        lot_at(&house, &ann, code.split_once('-').unwrap().0, code).await;
    }
    // Partitions are read in turn: what was there before north-3 has been looked at before north-4 is told.
    let seen = [told(&mut lots, lot, "north-4").await, told(&mut decisions, judged, "north-4").await].concat();
    assert!(seen.iter().all(|code| code.starts_with("north-")), "the south is over: {seen:?}");

    set_roles(&house, admin, user, "north", &[]).await;
    ended(lots).await;
    ended(decisions).await;
}

async fn draft(house: &House, ann: &str, name: &str) -> Value {
    let definition = json!({ "tasks": [{ "id": "read", "kind": "sql" }] });
    let given = json!({ "name": name, "definition": definition });
    let drafted = house.mutate(ann, "draftPipeline", "pipelineId position", &given).await;
    let query = "query($at: PositionToken) { pipelines(first: 1, consistentWith: $at) { nodes { id } } }";
    house.data(ann, query, &json!({ "at": drafted["position"] })).await;
    drafted["pipelineId"].clone()
}

async fn revise(house: &House, ann: &str, pipeline: &Value, name: &str) {
    let definition = json!({ "tasks": [{ "id": "read", "kind": "sql" }] });
    let given = json!({ "pipelineId": pipeline, "name": name, "definition": definition });
    let revised = house.mutate(ann, "revisePipeline", "position", &given).await;
    assert_eq!(revised["userErrors"], json!([]), "{revised}");
    let query = "query($at: PositionToken) { pipelines(first: 1, consistentWith: $at) { nodes { id } } }";
    house.data(ann, query, &json!({ "at": revised["position"] })).await;
}

/// The code of what was wrong, or nothing.
async fn grant(house: &House, bearer: &str, pipeline: &Value, user: UserId, rights: &[&str]) -> Value {
    let given = json!({ "idempotencyKey": key(), "pipelineId": pipeline, "userId": user, "rights": rights });
    let payload = house.mutate(bearer, "setPipelineAccess", "subjectId", &given).await;
    payload.pointer("/userErrors/0/code").cloned().unwrap_or_default()
}

#[tokio::test]
async fn pipelines_are_for_those_who_have_rights_on_them() {
    let (house, admin) = House::with_sites("rights-pipelines", &SITES).await;
    let ann = house.bearer(ADMIN).await;
    // Pipelines are the tenant's, so a role at a site shows none.
    let otto = house.member(admin, "otto", Some("north"), Role::Manager).await;
    let eve = house.member(admin, "eve", Some("north"), Role::Viewer).await;
    let bearer = house.token(otto).await;
    house.until(&[("authorization", &bearer)], 200).await;
    let (one, two, three) =
        (draft(&house, &ann, "one").await, draft(&house, &ann, "two").await, draft(&house, &ann, "three").await);
    let list = "{ pipelines(first: 9) { nodes { name } } }";
    house.graphql(&[("authorization", &bearer)], list, &json!({})).await.is(200, "FORBIDDEN");

    assert_eq!(grant(&house, &ann, &one, otto, &["MANAGE"]).await, Value::Null);
    assert_eq!(grant(&house, &ann, &three, otto, &["VIEW"]).await, Value::Null);
    assert_eq!(grant(&house, &ann, &three, otto, &["VIEW"]).await, "NOTHING_TO_CHANGE");
    assert_eq!(paged(&house, &bearer, "pipelines", "name").await, ["three", "one"]);
    assert_eq!(paged(&house, &ann, "pipelines", "name").await, ["three", "two", "one"]);
    assert_eq!(grant(&house, &bearer, &three, eve, &["VIEW"]).await, "FORBIDDEN", "to look is not to manage");
    assert_eq!(grant(&house, &bearer, &one, eve, &["VIEW", "EXECUTE"]).await, Value::Null);
    let me = house.data(&house.token(eve).await, "{ me { pipelineAccess { pipelineId rights } } }", &json!({})).await;
    assert_eq!(me["me"]["pipelineAccess"], json!([{ "pipelineId": one, "rights": ["VIEW", "EXECUTE"] }]));

    let mut feed = house.follow(&bearer, "subscription { pipelineChanged { pipeline { name } } }").await;
    let name = "/data/pipelineChanged/pipeline/name";
    revise(&house, &ann, &two, "two b").await;
    revise(&house, &ann, &one, "one b").await;
    assert_eq!(told(&mut feed, name, "one b").await, ["one b"]);
    assert_eq!(grant(&house, &ann, &one, otto, &[]).await, Value::Null);
    revise(&house, &ann, &one, "one c").await;
    revise(&house, &ann, &three, "three c").await;
    assert_eq!(told(&mut feed, name, "three c").await, ["three c"], "the first is over");
    let none = house
        .data(
            &bearer,
            "query($id: ID!) { pipelines(first: 9) { nodes { id } } node(id: $id) { id } }",
            &json!({ "id": three }),
        )
        .await;
    assert_eq!(none["pipelines"]["nodes"], json!([{ "id": three }]));
    assert_eq!(grant(&house, &ann, &three, otto, &[]).await, Value::Null);
    ended(feed).await;
    house.graphql(&[("authorization", &bearer)], list, &json!({})).await.is(200, "FORBIDDEN");
}

/// What one node has decided, the other goes by, with nothing asked of it in between. How soon: `make bench ONLY=access.role_change`.
#[tokio::test]
async fn a_changed_role_counts_on_the_other_node() {
    let (mut house, admin) = House::with_sites("rights-nodes", &SITES).await;
    let ann = house.bearer(ADMIN).await;
    lot_at(&house, &ann, "north", "A").await;
    let user = house.member(admin, "olga", Some("north"), Role::Operator).await;
    let olga = house.token(user).await;
    let other = node(&house.plant, "two").await;
    let first = std::mem::replace(&mut house.server, other);

    let lots = "{ lots(site: \"north\", first: 1) { nodes { code } } }";
    house.until(&[("authorization", &olga)], 200).await;
    assert_eq!(house.data(&olga, lots, &json!({})).await, json!({ "lots": { "nodes": [{ "code": "A" }] } }));
    let mut feed = house.follow(&olga, "subscription { lotChanged(site: \"north\") { position } }").await;
    set_roles(&house, admin, user, "north", &[]).await;
    let last = feed.next().await.expect("it is said why the stream ends");
    assert_eq!(last["errors"][0]["extensions"]["code"], "FORBIDDEN", "{last}");
    assert_eq!(feed.next().await, None);
    house.graphql(&[("authorization", &olga)], lots, &json!({})).await.is(200, "FORBIDDEN");
    set_roles(&house, admin, user, "south", &[Role::Viewer]).await;
    let until = Instant::now() + PATIENCE;
    while house.data(&olga, "{ sites }", &json!({})).await["sites"] != json!(["south"]) {
        assert!(Instant::now() < until, "a role that was given does not arrive");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(first);
}

/// The answer to a command is given again to whoever sends it again. What it shows is another question, and asked anew.
#[tokio::test]
async fn an_answer_that_is_given_again_shows_what_may_be_seen_now() {
    let (house, admin) = House::with_sites("rights-again", &SITES).await;
    let user = house.member(admin, "olga", None, Role::Manager).await;
    let olga = house.token(user).await;
    house.until(&[("authorization", &olga)], 200).await;
    let address = json!({ "modbus": { "unit": 1, "table": "COILS", "address": 0 } });
    let definition = json!({ "tasks": [{ "id": "read", "kind": "sql" }] });
    let commands = [
        ("registerLot", "lot", lot("north", "A", "1", &[])),
        ("recordQcDecision", "qcDecision", decision("north", "A", "PASS")),
        (
            "declareSignal",
            "signal",
            json!({ "idempotencyKey": key(), "site": "north", "name": "s", "unit": "1", "dataType": "BOOL", "device": "d", "address": address }),
        ),
        ("draftPipeline", "pipeline", json!({ "idempotencyKey": key(), "name": "p", "definition": definition })),
    ];
    for (name, thing, input) in &commands {
        let payload = house.mutate(&olga, name, &format!("replayed {thing} {{ id }}"), input).await;
        assert_eq!((&payload["replayed"], payload[thing]["id"].is_string()), (&json!(false), true), "{payload}");
        let again = house.mutate(&olga, name, &format!("replayed {thing} {{ id }}"), input).await;
        assert_eq!((&again["replayed"], &again[thing]), (&json!(true), &payload[thing]), "{again}");
    }
    let none = AccessCommand::ChangeMembership { user_id: user, site: None, roles: RoleSet::EMPTY };
    house.decide(admin.actor(), none).await;
    let until = Instant::now() + PATIENCE;
    while house.graphql(&[("authorization", &olga)], "{ projectionStatus { topic } }", &json!({})).await.code()
        != "FORBIDDEN"
    {
        assert!(Instant::now() < until, "the role is not taken away");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (name, thing, input) in &commands {
        let again = house.mutate(&olga, name, &format!("replayed version {thing} {{ id }}"), input).await;
        assert_eq!((&again["replayed"], &again[thing]), (&json!(true), &Value::Null), "{again}");
        assert!(
            again["version"].is_string() || again["version"].is_number(),
            "what became of it is no secret: {again}"
        );
    }
}
