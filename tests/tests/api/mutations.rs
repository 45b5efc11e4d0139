//! Commands in, read models out: payloads, refusals, retries, positions, and what can be read afterwards.

use lotline_api::Limits;
use serde_json::{Value, json};

use crate::plant::{NOW_MS, Plant, key, key_at};

#[tokio::test]
async fn a_lot_is_registered_read_and_traced() {
    let plant = Plant::start("api_lot", Limits::default()).await;
    let milk = plant.register_with(json!({ "code": "MILK", "temperatureC": "4.20" })).await;
    assert_eq!((&milk["userErrors"], &milk["replayed"]), (&json!([]), &json!(false)), "{milk}");
    let parents = json!([{ "lot": { "code": "MILK" }, "quantity": { "value": "0.4", "unit": "HLT" } }]);
    let cream = json!({ "input": {
        "idempotencyKey": key(), "site": "north", "code": "CREAM", "lotType": "INTERMEDIATE", "product": "cream",
        "quantity": { "value": "38.5", "unit": "KGM" }, "parents": parents, "reason": "first of the day",
        "attributes": [{ "name": "fat", "value": "30%" }],
    } });
    let query = "mutation($input: RegisterLotInput!) { registerLot(input: $input) { lotId version position \
                 userErrors { code } lot { id code version attributes { name value } \
                 parents { parent { code remaining { value unit } } quantity { value unit } } } } }";
    let payload = plant.data(query, cream).await["registerLot"].take();
    assert_eq!(payload["lot"]["id"], payload["lotId"], "{payload:#}");
    assert_eq!(payload["lot"]["version"], payload["version"]);
    assert_eq!(payload["lot"]["attributes"], json!([{ "name": "fat", "value": "30%" }]));
    let parent = json!([{ "parent": { "code": "MILK", "remaining": { "value": "60", "unit": "LTR" } },
        "quantity": { "value": "0.4", "unit": "HLT" } }]);
    assert_eq!(payload["lot"]["parents"], parent);

    let query = "query($token: PositionToken, $milk: ID!, $cream: ID!) { \
        byCode: lot(site: \"north\", code: \"MILK\", consistentWith: $token) { temperatureC actor children(first: 5) { child { code } } } \
        node(id: $cream) { __typename id ... on Lot { code } } nodes(ids: [$milk, $cream]) { id } \
        up: lotGenealogy(id: $cream, direction: ANCESTORS, consistentWith: $token) { truncated steps { depth edge { parent { code } } } } \
        down: lotGenealogy(id: $milk, direction: DESCENDANTS, maxDepth: 1) { steps { edge { child { code } } } } \
        auditTrail(first: 10, filter: {stream: \"north\"}, consistentWith: $token) { nodes { sequence eventType actor reason } } \
        projectionStatus { readModel degraded } }";
    let variables = json!({ "token": payload["position"], "milk": milk["lotId"], "cream": payload["lotId"] });
    let data = plant.data(query, variables).await;
    assert_eq!(data["byCode"]["temperatureC"], "4.2");
    assert_eq!(data["byCode"]["actor"], "ann");
    assert_eq!(data["byCode"]["children"], json!([{ "child": { "code": "CREAM" } }]));
    assert_eq!(data["node"], json!({ "__typename": "Lot", "id": payload["lotId"], "code": "CREAM" }));
    assert_eq!(data["nodes"], json!([{ "id": milk["lotId"] }, { "id": payload["lotId"] }]));
    let up = json!({ "truncated": false, "steps": [{ "depth": 1, "edge": { "parent": { "code": "MILK" } } }] });
    assert_eq!(data["up"], up);
    assert_eq!(data["down"]["steps"], json!([{ "edge": { "child": { "code": "CREAM" } } }]));
    let newest = json!({ "sequence": 2, "eventType": "lotline.lot.registered.v1", "actor": "ann", "reason": "first of the day" });
    assert_eq!(data["auditTrail"]["nodes"][0], newest);
}

#[tokio::test]
async fn refusals_are_typed_recorded_and_covered_by_a_position() {
    let plant = Plant::start("api_refusals", Limits::default()).await;
    plant.register("north", "A").await;
    let absurd = "9999-01-01T00:00:00Z";
    let litre = json!({ "value": "1", "unit": "LTR" });
    for (own, code, field) in [
        (json!({ "code": "B", "quantity": { "value": "-1", "unit": "LTR" } }), "QUANTITY_NOT_POSITIVE", "quantity"),
        (json!({ "code": "B", "quantity": { "value": "NaN", "unit": "LTR" } }), "QUANTITY_NOT_DECIMAL", "quantity"),
        (
            json!({ "code": "B", "quantity": { "value": "9".repeat(400), "unit": "LTR" } }),
            "QUANTITY_OUT_OF_RANGE",
            "quantity",
        ),
        (json!({ "code": "B", "quantity": { "value": "1", "unit": "stone" } }), "UNKNOWN_UNIT", "quantity"),
        (json!({ "code": "A" }), "DUPLICATE_LOT_CODE", "code"),
        (json!({ "code": "B", "parents": [{ "lot": { "code": "Z" }, "quantity": litre }] }), "UNKNOWN_LOT", "parents"),
        (
            json!({ "code": "B", "parents": [{ "lot": { "code": "B" }, "quantity": litre }] }),
            "GENEALOGY_CYCLE",
            "parents",
        ),
        (
            json!({ "code": "B", "parents": [{ "lot": { "code": "A" }, "quantity": { "value": "1", "unit": "KGM" } }] }),
            "UNIT_MISMATCH",
            "parents",
        ),
        (json!({ "code": "B", "occurredAt": absurd }), "OCCURRED_AT_OUT_OF_RANGE", "occurredAt"),
        (json!({ "code": "B", "temperatureC": "-300" }), "INVALID_NUMBER", "temperatureC"),
        (
            json!({ "code": "B", "idempotencyKey": "018f2a6e-7c00-4abc-8def-0123456789ab" }),
            "INVALID_IDEMPOTENCY_KEY",
            "idempotencyKey",
        ),
        (json!({ "code": "A", "expectedVersion": 7 }), "VERSION_CONFLICT", "expectedVersion"),
    ] {
        let payload = plant.register_with(own.clone()).await;
        let error = &payload["userErrors"][0];
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &json!(field)), "{own}: {payload}");
        assert_eq!((&payload["lotId"], &payload["version"]), (&Value::Null, &Value::Null));
    }
    // What was refused by the plant's rules is in the log, and can be waited for.
    let payload = plant.register("north", "A").await;
    let query = "query($token: PositionToken) { auditTrail(first: 1, filter: {eventType: \"lotline.command.refused.v1\"}, \
                 consistentWith: $token) { nodes { data } } lots(first: 10, consistentWith: $token) { nodes { code } } }";
    let data = plant.data(query, json!({ "token": payload["position"] })).await;
    assert_eq!(data["auditTrail"]["nodes"][0]["data"]["code"], "DUPLICATE_LOT_CODE", "{data}");
    assert_eq!(data["lots"]["nodes"], json!([{ "code": "A" }]), "nothing was written but refusals");
    let payload = plant.register("nowhere", "A").await;
    assert_eq!((&payload["userErrors"][0]["code"], &payload["position"]), (&json!("UNKNOWN_SITE"), &Value::Null));
}

#[tokio::test]
async fn a_retry_gives_the_first_answer_again() {
    let plant = Plant::start("api_retry", Limits::default()).await;
    let own = json!({ "idempotencyKey": key(), "code": "A" });
    let first = plant.register_with(own.clone()).await;
    let again = plant.register_with(own.clone()).await;
    assert_eq!((&again["lotId"], &again["version"]), (&first["lotId"], &first["version"]));
    assert_eq!((&first["replayed"], &again["replayed"]), (&json!(false), &json!(true)));
    let other = plant.register_with(json!({ "idempotencyKey": own["idempotencyKey"], "code": "B" })).await;
    assert_eq!(other["userErrors"][0]["code"], "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn waiting_for_a_position_that_does_not_come_times_out() {
    let plant = Plant::start("api_timeout", Limits::default()).await;
    // Partition 0 at offset 999, as base64url of `l0.999`.
    let query = "{ lots(first: 1, consistentWith: \"bDAuOTk5\", consistencyTimeoutMs: 30) { nodes { id } } }";
    let answer = plant.ask(query, json!({})).await;
    let extensions = &answer["errors"][0]["extensions"];
    assert_eq!(
        (&extensions["code"], &extensions["readModel"]),
        (&json!("CONSISTENCY_TIMEOUT"), &json!("lots")),
        "{answer}"
    );
    let answer = plant.ask("{ lots(first: 1, consistentWith: \"l0.999\") { nodes { id } } }", json!({})).await;
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("PositionToken"), "{answer}");
}

#[tokio::test]
async fn notes_are_sealed_and_erased_with_their_key() {
    let plant = Plant::start("api_notes", Limits::default()).await;
    plant.register("north", "A").await;
    let input = json!({
        "idempotencyKey": key(), "site": "north", "lot": { "code": "A" }, "gate": "intake", "outcome": "HOLD", "notes": "Ann saw foam",
        "measurements": [{ "name": "pH", "value": "6.60", "unit": "1" }], "checklist": [{ "item": "clean?", "answer": "no" }],
    });
    let query = "mutation($input: RecordQcDecisionInput!) { recordQcDecision(input: $input) { qcDecisionId position replayed \
                 userErrors { code } qcDecision { notes notesErased outcome measurements { name value } lot { code qcStatus } } } }";
    let payload = plant.data(query, json!({ "input": input })).await["recordQcDecision"].take();
    let decision = json!({ "notes": "Ann saw foam", "notesErased": false, "outcome": "HOLD",
        "measurements": [{ "name": "pH", "value": "6.6" }], "lot": { "code": "A", "qcStatus": "HOLD" } });
    assert_eq!(payload["qcDecision"], decision, "{payload}");
    let again = plant.data(query, json!({ "input": input })).await["recordQcDecision"].take();
    assert_eq!(again["replayed"], true, "sealing is deterministic, so a retry is recognised: {again}");

    let data = plant.data("{ auditTrail(first: 2) { nodes { data } } }", json!({})).await;
    assert!(!data.to_string().contains("foam"), "nothing in clear: {data}");
    plant.keys.destroy("ann");
    let query = "query($id: ID!) { node(id: $id) { ... on QcDecision { notes notesErased gate } } }";
    let data = plant.data(query, json!({ "id": payload["qcDecisionId"] })).await;
    assert_eq!(data["node"], json!({ "notes": null, "notesErased": true, "gate": "intake" }));
}

#[tokio::test]
async fn pipelines_go_from_draft_to_archive() {
    let plant = Plant::start("api_pipelines", Limits::default()).await;
    let definition = json!({ "tasks": [{ "id": "a", "kind": "extract.csv", "config": { "path": "/x", "n": 1.5 } }, { "id": "b", "kind": "load" }],
        "edges": [{ "from": "a", "to": "b" }] });
    let fields = "{ pipelineId version position userErrors { field code } pipeline { name publishedVersion archived hasUnpublishedChanges \
                  draft { tasks { id kind config } edges { from to } } versions(first: 5) { number name } } }";
    let draft = json!({ "input": { "idempotencyKey": key(), "name": "p", "definition": definition } });
    let query = format!("mutation($input: DraftPipelineInput!) {{ p: draftPipeline(input: $input) {fields} }}");
    let drafted = plant.data(&query, draft).await["p"].take();
    assert_eq!(drafted["pipeline"]["draft"]["tasks"][0]["config"], json!({ "path": "/x", "n": 1.5 }), "{drafted}");
    let id = drafted["pipelineId"].clone();
    let cycle = json!({ "tasks": [{ "id": "a", "kind": "x" }], "edges": [{ "from": "a", "to": "a" }] });
    let revise = json!({ "input": { "idempotencyKey": key(), "pipelineId": id, "name": "p", "definition": cycle } });
    let query = format!("mutation($input: RevisePipelineInput!) {{ p: revisePipeline(input: $input) {fields} }}");
    let refused = plant.data(&query, revise).await["p"].take();
    assert_eq!(refused["userErrors"], json!([{ "field": "edges", "code": "TASK_CYCLE" }]));
    for (mutation, published, archived) in [("publishPipeline", 1, false), ("archivePipeline", 1, true)] {
        let query = format!("mutation($input: PipelineInput!) {{ p: {mutation}(input: $input) {fields} }}");
        let payload =
            plant.data(&query, json!({ "input": { "idempotencyKey": key(), "pipelineId": id } })).await["p"].take();
        let pipeline = &payload["pipeline"];
        assert_eq!(
            (&pipeline["publishedVersion"], &pipeline["archived"]),
            (&json!(published), &json!(archived)),
            "{payload}"
        );
        assert_eq!(pipeline["versions"], json!([{ "number": 1, "name": "p" }]));
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_double() {
    let plant = Plant::start("api_pages", Limits::default()).await;
    let mut last = Value::Null;
    for count in 0..7 {
        // Ids are ordered by their millisecond; within one, by chance.
        let own = json!({ "idempotencyKey": key_at(NOW_MS - 1_000 + count), "code": format!("L{count}") });
        last = plant.register_with(own).await["position"].take();
    }
    let query = "query($after: String, $token: PositionToken) { lots(first: 3, after: $after, consistentWith: $token) { \
                 nodes { code } edges { cursor } pageInfo { hasNextPage hasPreviousPage endCursor } } }";
    let (mut codes, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = plant.data(query, json!({ "after": after, "token": last })).await["lots"].take();
        codes.extend(page["nodes"].as_array().unwrap().iter().map(|lot| lot["code"].as_str().unwrap().to_owned()));
        assert_eq!(page["pageInfo"]["hasPreviousPage"], json!(!after.is_null()));
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(codes, ["L6", "L5", "L4", "L3", "L2", "L1", "L0"]);
}
