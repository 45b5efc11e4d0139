//! Every root field of the running server, tried by every role, by nobody, with an expired token and with another tenant's.
//!
//! The list comes from the schema that the server shows, so a field without an example here, or without a line in the table, fails.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use lotline_api::schema::authority::{Root, Rule, TABLE};
use lotline_domain::access::command::AccessCommand;
use lotline_domain::access::role::{Permission, Role, RoleSet};
use lotline_domain::id::ActorId;
use lotline_tests::client::{key, lot};
use lotline_tests::operations;
use serde_json::{Value, json};

use crate::dock::delivery;
use crate::door::foreign;
use crate::runs::process;
use crate::site::SITE;
use crate::visitor::{ADMIN, House};

const PATIENCE: Duration = Duration::from_mins(1);

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Unknown,
    Forbidden,
    /// Whatever the answer is, it is not about who asked.
    Let,
}

/// Queries that give a page.
const LISTS: [&str; 14] = [
    "alerts",
    "apiKeys",
    "auditTrail",
    "holds",
    "lots",
    "partners",
    "pipelines",
    "products",
    "qcDecisions",
    "runs",
    "scenarios",
    "shipments",
    "signals",
    "users",
];

/// An operation for each root field, with its variables.
fn example(root: &str, field: &str) -> (String, Value) {
    let id = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let nil = "00000000-0000-0000-0000-000000000000";
    let (a_lot, a_pipeline, a_signal) =
        (id(&format!("lot:{nil}")), id(&format!("pipeline:{nil}")), id("signal:north:1"));
    let a_scenario = id(&format!("scenario:{nil}"));
    let range = "range: {from: \"2026-01-01T00:00:00Z\", until: \"2026-01-02T00:00:00Z\"}";
    let input = |kind: &str, given: Value| {
        let mut given = given;
        given["idempotencyKey"] = json!(key());
        let query = format!("mutation($input: {kind}!) {{ {field}(input: $input) {{ userErrors {{ code }} }} }}");
        (query, json!({ "input": given }))
    };
    let plain = |arguments: &str, selected: &str| (format!("{root} {{ {field}{arguments} {selected} }}"), json!({}));
    let shown = "{ __typename }";
    match (root, field) {
        (_, "findLots" | "receiveLot" | "receiveLots") => at_the_dock(field),
        ("query", list) if LISTS.contains(&list) => plain("(first: 1)", shown),
        ("query", "lot" | "run" | "shipment" | "hold") => plain("(site: \"north\", code: \"x\")", shown),
        ("query", "lotGenealogy") => plain(&format!("(id: \"{a_lot}\", direction: ANCESTORS)"), shown),
        ("query", "massBalance") => plain(&format!("(scope: {{ lots: [\"{a_lot}\"] }})"), shown),
        ("query", "recallScope") => plain(&format!("(lot: \"{a_lot}\")"), shown),
        ("query", "trace") => plain(&format!("(lot: \"{a_lot}\", direction: BOTH)"), shown),
        ("query", "alert" | "node") => plain(&format!("(id: \"{a_lot}\")"), shown),
        ("query", "nodes") => plain(&format!("(ids: [\"{a_lot}\"])"), shown),
        ("query", "pipeline") => plain(&format!("(id: \"{a_pipeline}\")"), shown),
        ("query", "scenario") => plain(&format!("(id: \"{a_scenario}\")"), shown),
        ("query", "scenarioDiff") => plain(&format!("(id: \"{a_scenario}\", from: 1)"), shown),
        ("query", "signalHistory") => plain(&format!("(id: \"{a_signal}\", {range}, first: 1)"), shown),
        ("query", "signalLatest") => plain(&format!("(ids: [\"{a_signal}\"])"), shown),
        ("query", "me" | "projectionStatus" | "skippedEvents") => plain("", shown),
        ("query", "sites" | "tenant") => plain("", ""),
        ("mutation", "registerLot") => input("RegisterLotInput", lot(SITE, &key().to_string(), "1", &[])),
        ("mutation", "recordQcDecision") => {
            let given = json!({ "site": SITE, "lot": { "code": "x" }, "gate": "intake", "outcome": "PASS" });
            input("RecordQcDecisionInput", given)
        }
        ("mutation", name) if name.ends_with("Pipeline") => about_pipeline(field, &a_pipeline),
        ("mutation", "declareSignal") => {
            let address = json!({ "modbus": { "unit": 1, "table": "COILS", "address": 0 } });
            let given = json!({ "site": SITE, "name": key().to_string(), "unit": "1", "dataType": "BOOL", "device": "d",
                "address": address });
            input("DeclareSignalInput", given)
        }
        ("mutation", "retryProjection" | "skipProjectionEvent") => about_read_model(field),
        ("mutation", "placeHold" | "releaseHold" | "releaseHoldLots") => about_hold(field),
        ("mutation", name) if name.ends_with("Run") || name == "decideGate" => about_run(field, &a_scenario),
        ("mutation", name) if name.ends_with("Scenario") => about_scenario(field, &a_scenario),
        ("subscription", "signalValues") => plain(&format!("(ids: [\"{a_signal}\"])"), "{ position }"),
        ("subscription", _) => plain("", "{ position }"),
        ("mutation", _) => {
            if let Some(given) = operations::operation(field, SITE, &[json!({ "code": "x" }), json!({ "code": "y" })]) {
                return input(&operations::input_type(field), given);
            }
            let (kind, given) = about_access(field);
            input(kind, given)
        }
        _ => panic!("{root} {field} is new: give it an example here and a line in the table"),
    }
}

/// A mutation about a pipeline that is not there, or a new one.
fn about_pipeline(field: &str, pipeline: &str) -> (String, Value) {
    let definition = json!({ "tasks": [{ "id": "read", "kind": "sql" }] });
    let key = key().to_string();
    let (kind, given) = match field {
        "draftPipeline" => {
            ("DraftPipelineInput", json!({ "idempotencyKey": key, "name": key, "definition": definition }))
        }
        "revisePipeline" => (
            "RevisePipelineInput",
            json!({ "idempotencyKey": key, "pipelineId": pipeline, "name": "x", "definition": definition }),
        ),
        _ => ("PipelineInput", json!({ "idempotencyKey": key, "pipelineId": pipeline })),
    };
    let query = format!("mutation($input: {kind}!) {{ {field}(input: $input) {{ userErrors {{ code }} }} }}");
    (query, json!({ "input": given }))
}

/// A lookup, or a delivery of nobody.
fn at_the_dock(field: &str) -> (String, Value) {
    if field == "findLots" {
        return ("query { findLots(by: { code: \"x\" }, first: 1) { __typename } }".to_owned(), json!({}));
    }
    let (mut given, mut kind) = (delivery("x", &key().to_string()), "ReceiveLotsInput");
    if field == "receiveLot" {
        let lot = given["lots"][0].take();
        let fields = given.as_object_mut().unwrap();
        fields.remove("lots");
        fields.extend(lot.as_object().unwrap().clone());
        kind = "ReceiveLotInput";
    }
    let query = format!("mutation($input: {kind}!) {{ {field}(input: $input) {{ userErrors {{ code }} }} }}");
    (query, json!({ "input": given }))
}

/// A mutation about a scenario that is not there, or a new one.
fn about_scenario(field: &str, scenario: &str) -> (String, Value) {
    let mut given = json!({ "idempotencyKey": key() });
    if field != "draftScenario" {
        given["scenarioId"] = json!(scenario);
    }
    if field == "draftScenario" || field == "reviseScenario" {
        (given["name"], given["definition"]) = (json!(key().to_string()), process());
    }
    of_its_own(field, &given)
}

/// A mutation about a read model.
fn about_read_model(field: &str) -> (String, Value) {
    let mut given = json!({ "idempotencyKey": key(), "reason": "x", "readModel": "LOTS", "stream": SITE });
    if field == "skipProjectionEvent" {
        given["sequence"] = json!(1);
    }
    of_its_own(field, &given)
}

/// A mutation whose input is named after it.
fn of_its_own(field: &str, given: &Value) -> (String, Value) {
    let kind = field[..1].to_uppercase() + &field[1..];
    let query = format!("mutation($input: {kind}Input!) {{ {field}(input: $input) {{ userErrors {{ code }} }} }}");
    (query, json!({ "input": given }))
}

/// A mutation about a run that is not there.
fn about_run(field: &str, scenario: &str) -> (String, Value) {
    let mut given = json!({ "idempotencyKey": key(), "site": SITE, "reason": "x" });
    if field == "startRun" {
        given["scenarioId"] = json!(scenario);
    } else {
        given["run"] = json!({ "code": "x" });
    }
    match field {
        "advanceRun" => given["fromPhase"] = json!(0),
        "decideGate" => (given["gate"], given["outcome"]) = (json!("x"), json!("PASS")),
        "linkLotToRun" | "unlinkLotFromRun" => given["lot"] = json!({ "code": "x" }),
        _ => {}
    }
    of_its_own(field, &given)
}

/// A mutation about a hold or lots that are not there.
fn about_hold(field: &str) -> (String, Value) {
    let mut given = json!({ "idempotencyKey": key(), "site": SITE, "reason": "x" });
    if field != "placeHold" {
        given["hold"] = json!({ "code": "x" });
    }
    if field != "releaseHold" {
        given["lots"] = json!([{ "code": "x" }]);
    }
    of_its_own(field, &given)
}

/// The type and value of the input of a mutation about products, partners and alerts.
fn about_master_data(field: &str) -> (&'static str, Value) {
    let code = key().to_string();
    match field {
        "defineProduct" => ("DefineProductInput", json!({ "code": code, "name": "X", "unit": "KGM" })),
        "acknowledgeAlert" | "resolveAlert" => {
            let kind = if field == "resolveAlert" { "ResolveAlertInput" } else { "AcknowledgeAlertInput" };
            let alert = BASE64_URL_SAFE_NO_PAD.encode(format!("alert:{}", key()));
            (kind, json!({ "site": SITE, "alert": alert, "reason": "x" }))
        }
        "definePartner" => ("DefinePartnerInput", json!({ "code": code, "name": "X", "buys": true })),
        "importMasterData" => {
            let csv = format!("code,name,unit\n{code},X,KGM\n");
            ("ImportMasterDataInput", json!({ "kind": "PRODUCTS", "csv": csv }))
        }
        _ => panic!("mutation {field} is new: give it an example here and a line in the table"),
    }
}

/// The type and value of the input of a mutation about access.
fn about_access(field: &str) -> (&'static str, Value) {
    let nil = "00000000-0000-0000-0000-000000000000";
    let id = key();
    match field {
        "inviteUser" => ("InviteUserInput", json!({ "email": format!("{id}@dairy.example"), "name": "X" })),
        "setRoles" => ("SetRolesInput", json!({ "userId": nil, "roles": ["VIEWER"] })),
        "deactivateUser" => ("DeactivateUserInput", json!({ "userId": nil })),
        "reactivateUser" => ("ReactivateUserInput", json!({ "userId": nil })),
        "issuePasswordReset" => ("IssuePasswordResetInput", json!({ "userId": nil })),
        "changeUserProfile" => {
            let given = json!({ "userId": nil, "email": format!("{id}@dairy.example"), "name": "X" });
            ("ChangeUserProfileInput", given)
        }
        "setPipelineAccess" => {
            let pipeline = BASE64_URL_SAFE_NO_PAD.encode(format!("pipeline:{nil}"));
            ("SetPipelineAccessInput", json!({ "pipelineId": pipeline, "userId": nil, "rights": ["VIEW"] }))
        }
        "issueApiKey" => {
            let given = json!({ "label": "x", "prefix": &id.simple().to_string()[12..], "roles": ["VIEWER"],
                "expiresAt": "2100-01-01T00:00:00Z" });
            ("IssueApiKeyInput", given)
        }
        "revokeApiKey" => ("RevokeApiKeyInput", json!({ "keyId": nil })),
        "registerSite" => {
            ("RegisterSiteInput", json!({ "site": format!("s-{id}"), "name": "X", "timeZone": "Etc/UTC" }))
        }
        _ => about_master_data(field),
    }
}

/// Whether a role is to be let by a rule.
fn is_due(rule: Rule, role: Role) -> bool {
    let granted = RoleSet::of(&[role]).permissions();
    match rule {
        Rule::Admitted => true,
        Rule::ById | Rule::ByGrant => granted.has(Permission::LookUp),
        Rule::AtSite(needed) | Rule::AtStream(needed) | Rule::Everywhere(needed) | Rule::Command(needed) => {
            granted.has(needed)
        }
    }
}

/// `(root, field)` of everything in the schema, as the server shows it.
pub(crate) async fn fields(house: &House, admin: &str) -> Vec<(&'static str, String)> {
    let roots = "{ __schema { query: queryType { fields { name } } mutation: mutationType { fields { name } } \
                 subscription: subscriptionType { fields { name } } } }";
    let answer = house.graphql(&[("authorization", admin)], roots, &json!({})).await;
    let schema = &answer.body["data"]["__schema"];
    let mut found = Vec::new();
    for root in ["query", "mutation", "subscription"] {
        let fields = schema[root]["fields"].as_array().unwrap_or_else(|| panic!("no {root}: {}", answer.body));
        found.extend(fields.iter().map(|field| (root, field["name"].as_str().unwrap().to_owned())));
    }
    assert!(found.len() > 25, "{found:?}");
    found
}

/// `due` says for how long to look whether a subscription is refused.
async fn tried(house: &House, bearer: Option<&str>, root: &str, field: &str, due: bool) -> Outcome {
    let (query, variables) = example(root, field);
    let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", *bearer)).collect();
    if root == "subscription" && bearer.is_some() {
        return followed(house, bearer.unwrap_or_default(), &query, due).await;
    }
    let answer = house.graphql(&headers, &query, &variables).await;
    let refused = answer.body["data"][field]["userErrors"][0]["code"] == "FORBIDDEN" || answer.code() == "FORBIDDEN";
    match (answer.status, refused) {
        (401, _) => Outcome::Unknown,
        (_, true) => Outcome::Forbidden,
        (200, false) => Outcome::Let,
        (status, false) => panic!("{root} {field}: {status} {}", answer.body),
    }
}

async fn followed(house: &House, bearer: &str, query: &str, due: bool) -> Outcome {
    let request = reqwest::Client::new().post(format!("{}/graphql", house.server.url)).json(&json!({ "query": query }));
    let request = request.header("accept", "text/event-stream").header("authorization", bearer);
    let mut stream = request.send().await.unwrap();
    if stream.status() == 401 {
        return Outcome::Unknown;
    }
    let within = if due { Duration::from_millis(200) } else { PATIENCE };
    match tokio::time::timeout(within, stream.chunk()).await {
        Ok(chunk) => {
            let text = String::from_utf8_lossy(&chunk.unwrap().unwrap_or_default()).into_owned();
            assert!(!text.contains("INTERNAL"), "{query}: {text}");
            if text.contains("FORBIDDEN") { Outcome::Forbidden } else { Outcome::Let }
        }
        Err(_) => Outcome::Let,
    }
}

#[tokio::test]
async fn every_field_is_for_whom_the_table_says() {
    let (house, admin) = House::with_admin("authority").await;
    let tenant = house.plant.settings.tenant.clone();
    let mut bearers = BTreeMap::new();
    for role in Role::ALL {
        let user = house.member(admin, role.as_str(), None, role).await;
        bearers.insert(role, house.token(user).await);
    }
    let strangers = [
        None,
        Some(foreign(&house, &tenant, 3_600, admin).await),
        Some(foreign(&house, "other-tenant", 0, admin).await),
    ];
    for bearer in bearers.values() {
        house.until(&[("authorization", bearer)], 200).await;
    }
    let mut wrong = Vec::new();
    for (root, field) in fields(&house, &bearers[&Role::Admin]).await {
        let kind = [Root::Query, Root::Mutation, Root::Subscription].into_iter().find(|kind| kind.as_str() == root);
        let rule = TABLE.iter().find(|(kind_of, name, _)| Some(*kind_of) == kind && *name == field);
        let (_, _, rule) = rule.unwrap_or_else(|| panic!("{root} {field} is not in the table"));
        for stranger in &strangers {
            let outcome = tried(&house, stranger.as_deref(), root, &field, false).await;
            if outcome != Outcome::Unknown {
                wrong.push(format!("{root} {field}: {outcome:?} for a stranger"));
            }
        }
        for (role, bearer) in &bearers {
            let due = is_due(*rule, *role);
            let expected = if due { Outcome::Let } else { Outcome::Forbidden };
            let outcome = tried(&house, Some(bearer), root, &field, due).await;
            if outcome != expected {
                wrong.push(format!("{root} {field}: {outcome:?} for {role}, not {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_role_at_a_site_is_none_elsewhere() {
    let (house, admin) = House::with_admin("authority-site").await;
    let register = AccessCommand::RegisterSite { site: SITE.into(), name: "North".into(), time_zone: "Etc/UTC".into() };
    house.decide(ActorId::system(), register).await;
    let user = house.member(admin, "olga", Some(SITE), Role::Operator).await;
    let olga = house.token(user).await;
    let olga = [("authorization", olga.as_str())];
    house.until(&olga, 200).await;
    let event = BASE64_URL_SAFE_NO_PAD.encode("audit_entry:00000000-0000-0000-0000-000000000000");
    for (query, fine) in [
        ("{ lots(site: \"north\", first: 1) { __typename } }", true),
        ("{ lots(first: 1) { __typename } }", true),
        ("{ lots(site: \"south\", first: 1) { __typename } }", false),
        ("{ a: lots(site: \"north\", first: 1) { __typename } b: lots(first: 1) { __typename } }", true),
        ("{ a: lots(first: 1) { __typename } b: lots(site: \"south\", first: 1) { __typename } }", false),
        ("{ auditTrail(filter: {stream: \"north\"}, first: 1) { __typename } }", false),
        (&format!("{{ node(id: \"{event}\") {{ id }} }}"), false),
    ] {
        let answer = house.graphql(&olga, query, &json!({})).await;
        assert_eq!(answer.code() != "FORBIDDEN", fine, "{query}: {}", answer.body);
    }
    let registered = house.register(&olga, "L-1").await;
    assert_eq!(registered.body["data"]["registerLot"]["userErrors"], json!([]), "{}", registered.body);
}

#[tokio::test]
async fn a_subscription_ends_with_the_right_to_it() {
    let (house, admin) = House::with_admin("authority-live").await;
    let user = house.member(admin, "vic", None, Role::Viewer).await;
    let vic = house.token(user).await;
    house.until(&[("authorization", &vic)], 200).await;
    let query = json!({ "query": "subscription { lotChanged { position } }" });
    let request = reqwest::Client::new().post(format!("{}/graphql", house.server.url)).json(&query);
    let stream = request.header("accept", "text/event-stream").header("authorization", &vic).send().await.unwrap();
    let roles = RoleSet::EMPTY;
    house.decide(admin.actor(), AccessCommand::ChangeMembership { user_id: user, site: None, roles }).await;
    let text = tokio::time::timeout(PATIENCE, stream.text()).await.expect("the stream ends").unwrap();
    assert!(text.contains("FORBIDDEN") && text.contains("event: complete"), "{text}");
    let ann = house.bearer(ADMIN).await;
    house.until(&[("authorization", &ann)], 200).await;
}
