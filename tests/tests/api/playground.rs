//! The playground's examples work, the second time too.

use std::time::Duration;

use lotline_api::Limits;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::plant::{DEADLINE, Plant, key};

/// `{ name: [operation, variables] }`, as the page carries them.
async fn examples(plant: &Plant) -> Vec<(String, String, Value)> {
    let page = reqwest::get(format!("http://{}/graphiql", plant.address)).await.expect("the page is served");
    let page = page.text().await.expect("the page is complete");
    let (_, rest) = page.split_once("id=\"operations\">").expect("the page carries its examples");
    let (text, _) = rest.split_once("</script>").expect("the block ends");
    let examples: serde_json::Map<String, Value> = serde_json::from_str(text).expect("the examples are JSON");
    examples
        .into_iter()
        .map(|(name, mut example)| {
            let query = example[0].as_str().expect("the operation is a text").to_owned();
            (name, query, example[1].take())
        })
        .collect()
}

/// What the page does with the variables before it sends them.
fn filled(variables: &Value, code: &str) -> Value {
    match variables {
        Value::String(text) if text == "$uuid7" => json!(key()),
        Value::String(text) if text == "$code" => json!(code),
        Value::Array(items) => items.iter().map(|item| filled(item, code)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), filled(value, code))).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn every_example_runs_twice() {
    let plant = Plant::start("api_playground", Limits::default()).await;
    let examples = examples(&plant).await;
    assert!(examples.len() > 5, "the examples were found");
    for run in 1..=2 {
        for (name, query, variables) in examples.iter().filter(|(_, query, _)| !query.starts_with("subscription")) {
            let variables = filled(variables, &format!("MILK-{}", key()));
            let data = plant.data(query, variables).await;
            for (field, payload) in data.as_object().expect("data is an object") {
                let refused = payload.get("userErrors").is_some_and(|errors| *errors != json!([]));
                assert!(!refused, "run {run} of '{name}', {field}: {payload}");
            }
        }
    }
}

#[tokio::test]
async fn every_followed_example_gives_items() {
    let plant = Plant::start("api_playground_live", Limits::default()).await;
    for (name, query, variables) in examples(&plant).await {
        if query.starts_with("subscription") {
            let mut socket = plant.ready_socket().await;
            socket.subscribe("1", &query, variables).await;
            let item = timeout(DEADLINE, async {
                loop {
                    // Whatever is registered before the subscription has begun is not an item of it, so more may be needed.
                    plant.register("north", &format!("L-{}", key())).await;
                    if let Ok(item) = timeout(Duration::from_millis(500), socket.next()).await {
                        return item;
                    }
                }
            });
            let item = item.await.unwrap_or_else(|_| panic!("'{name}' gave no item"));
            assert!(item.to_string().contains("position"), "{name}: {item}");
        }
    }
}
