//! A process from its template to its end, by the API.

use lotline_tests::client::{Client, key};
use lotline_tests::server::Log;
use serde_json::{Value, json};

use crate::site::Plant;

/// The smallest process there is.
pub(crate) fn process() -> Value {
    json!({
        "streams": [{ "key": "milk", "name": "Milk", "colour": "#1e90ff", "sortOrder": 1 }],
        "phases": [{ "number": 0, "name": "Intake", "stream": "milk" }],
    })
}

/// Three phases with a gate for the run after the first and one for lots after the second.
fn yogurt() -> Value {
    let gate = |name: &str, after: u32, judges: &str| {
        json!({ "key": name, "afterPhase": after, "gateType": "laboratory", "judges": judges, "ccp": true, "blocking": true,
            "checklist": [{ "key": "sealed", "question": "Sealed?", "answer": "YES_NO", "required": true }],
            "limits": [{ "name": "core", "unit": "Cel", "low": "72", "high": "75.5", "signal": "pasteuriser.temperature" }] })
    };
    let phase = |number: u32, name: &str| json!({ "number": number, "name": name, "stream": "milk" });
    let mut filling = phase(20, "Fill");
    filling["registers"] =
        json!({ "lotType": "FINISHED", "product": "yogurt", "quantity": { "value": "500", "unit": "C62" } });
    json!({
        "streams": [{ "key": "milk", "name": "Milk", "colour": "#1E90FF", "sortOrder": 1 }],
        "phases": [phase(0, "Heat"), phase(10, "Culture"), filling],
        "gates": [gate("heat", 0, "RUN"), gate("ripe", 10, "LOTS")],
    })
}

/// A mutation's input under a key of its own.
fn keyed(mut input: Value) -> Value {
    input["idempotencyKey"] = json!(key());
    input
}

#[tokio::test]
async fn templates_become_versions_that_can_be_compared() {
    let plant = Plant::new("scenarios", Log::Postgres).await;
    let server = plant.serve().await;
    let eva = Client::new(&server.url, "eva");
    let drafted = keyed(json!({ "name": "Yogurt", "definition": yogurt() }));
    let drafted = eva.mutate("draftScenario", "scenarioId scenario { name publishedVersion }", &drafted).await;
    assert_eq!(drafted["scenario"], json!({ "name": "Yogurt", "publishedVersion": null }));
    let id = &drafted["scenarioId"];
    eva.mutate("publishScenario", "", &keyed(json!({ "scenarioId": id }))).await;
    assert_eq!(eva.refused("publishScenario", &keyed(json!({ "scenarioId": id }))).await, "NOTHING_TO_PUBLISH");

    let mut inverted = yogurt();
    inverted["gates"][0]["limits"][0]["low"] = json!("80");
    let refused = keyed(json!({ "scenarioId": id, "name": "Yogurt", "definition": inverted }));
    let refused = eva.try_mutate("reviseScenario", "", &refused).await.unwrap();
    let message = "gate 'heat': limit 'core' has its low bound 80 above its high bound 75.5";
    let expected = json!([{ "field": "gates", "code": "LIMIT_INVERTED", "message": message }]);
    assert_eq!(refused["userErrors"], expected);

    let mut stricter = yogurt();
    stricter["gates"][0]["limits"][0]["low"] = json!("73.0");
    stricter["gates"].as_array_mut().unwrap().pop();
    let revised = keyed(json!({ "scenarioId": id, "name": "Yogurt 2", "definition": stricter }));
    eva.mutate("reviseScenario", "", &revised).await;
    let second = eva.mutate("publishScenario", "", &keyed(json!({ "scenarioId": id }))).await;
    let query = "query($id: ID!, $at: PositionToken) {
        scenario(id: $id, consistentWith: $at) { name publishedVersion hasUnpublishedChanges versions(first: 5) { number name
            definition { phases { number registers { product quantity { value unit } } } gates { key judges limits { low } } } } }
        diff: scenarioDiff(id: $id, from: 1, to: 2, consistentWith: $at) { path kind fields { field before after } }
        none: scenarioDiff(id: $id, from: 2, consistentWith: $at) { path }
        node(id: $id) { id }
    }";
    let data = eva.query(query, &json!({ "id": id, "at": second["position"] })).await;
    let versions = data["scenario"]["versions"].as_array().unwrap();
    assert_eq!((&versions[0]["number"], &versions[1]["number"]), (&json!(2), &json!(1)));
    assert_eq!(
        versions[1]["definition"]["gates"][1],
        json!({ "key": "ripe", "judges": "LOTS", "limits": [{ "low": "72" }] })
    );
    let filled = json!({ "product": "yogurt", "quantity": { "value": "500", "unit": "C62" } });
    assert_eq!(versions[0]["definition"]["phases"][2], json!({ "number": 20, "registers": filled }));
    assert_eq!((&data["none"], &data["node"]["id"]), (&json!([]), id));
    let change = json!([{ "field": "low", "before": "72", "after": "73" }]);
    let expected = json!([
        { "path": "gates/heat/limits/core", "kind": "CHANGED", "fields": change },
        { "path": "gates/ripe", "kind": "REMOVED", "fields": [] },
    ]);
    assert_eq!(data["diff"], expected);
    eva.mutate("retireScenario", "", &keyed(json!({ "scenarioId": id, "reason": "replaced" }))).await;
    assert_eq!(eva.refused("retireScenario", &keyed(json!({ "scenarioId": id }))).await, "SCENARIO_RETIRED");
    plant.assert_tables_equal_the_log(&eva).await;
}
