//! Inputs of the mutations about lots that are there.

use serde_json::{Value, json};

use crate::client::key;

/// Each of the mutations.
pub const FIELDS: [&str; 10] = [
    "splitLot",
    "mergeLots",
    "transformLots",
    "reworkLots",
    "adjustLot",
    "scrapLot",
    "moveLot",
    "sampleLot",
    "expireLot",
    "shipLots",
];

/// The type of a mutation's input.
pub fn input_type(field: &str) -> String {
    match field {
        "reworkLots" => "TransformLotsInput".to_owned(),
        _ => format!("{}{}Input", field[..1].to_uppercase(), &field[1..]),
    }
}

/// A sound input of one of [`FIELDS`], nothing for others: one kilogram of each of the lots, as `{ code }` or `{ id }`; outputs have fresh codes.
pub fn operation(field: &str, site: &str, lots: &[Value]) -> Option<Value> {
    let kilograms = |value: usize| json!({ "value": value.to_string(), "unit": "KGM" });
    let (first, code) = (lots.first()?, format!("out-{}", key()));
    let inputs: Vec<Value> = lots.iter().map(|lot| json!({ "lot": lot, "quantity": kilograms(1) })).collect();
    let own = match field {
        "splitLot" => json!({ "lot": first, "outputs": [{ "code": code, "quantity": kilograms(1) }] }),
        "mergeLots" => json!({ "inputs": inputs, "output": { "code": code, "quantity": kilograms(lots.len()) } }),
        "transformLots" | "reworkLots" => {
            let output = json!({ "code": code, "lotType": "INTERMEDIATE", "product": "Cheese", "quantity": kilograms(lots.len()) });
            json!({ "inputs": inputs, "outputs": [output] })
        }
        "adjustLot" => json!({ "lot": first, "direction": "DECREASE", "quantity": kilograms(1) }),
        "scrapLot" | "sampleLot" => json!({ "lot": first, "quantity": kilograms(1) }),
        "moveLot" => json!({ "lot": first, "location": "dock" }),
        "expireLot" => json!({ "lot": first }),
        "shipLots" => json!({ "customer": "nobody", "lots": inputs }),
        _ => return None,
    };
    let mut input = json!({ "idempotencyKey": key(), "site": site, "reason": "as planned" });
    let fields = own.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone()));
    input.as_object_mut()?.extend(fields);
    Some(input)
}
