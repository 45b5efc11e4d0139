//! Mass balance and the reach of a recall through the API: what came, what went, and by whom it may be asked.

use lotline_domain::access::role::Role;
use lotline_tests::client::{key, lot};
use serde_json::{Value, json};

use crate::visitor::{ADMIN, House};

const BALANCE: &str = "query($scope: MassBalanceScope!, $at: PositionToken, $from: DateTime) { \
    massBalance(scope: $scope, consistentWith: $at, from: $from) { lots missing measures { unit opening registered broughtIn lost \
    used scrapped sampled decreased shortfall closing variance balanced } } }";
const RECALL: &str = "query($lot: ID!, $at: PositionToken) { recallScope(lot: $lot, consistentWith: $at) { start { code } complete lotCount \
    gaps { reason } quantity { value unit } whereabouts { onHand scrapped sampled } unaccounted { value } \
    lots(first: 10, onHandOnly: true) { nodes { depth lot { code } attributed { value } whereabouts { onHand } \
    attributedWhereabouts { onHand } } } } }";

/// Milk becomes curd by a transformation with a stated loss; cheese is registered from curd and weighs less than what went in.
struct Dairy {
    house: House,
    ann: String,
    admin: lotline_domain::id::UserId,
    milk: Value,
    curd: Value,
    at: Value,
}

impl Dairy {
    async fn new(name: &str) -> Self {
        let (house, admin) = House::with_sites(name, &["north", "south"]).await;
        let ann = house.bearer(ADMIN).await;
        let milk = house.mutate(&ann, "registerLot", "lotId", &lot("north", "milk", "100", &[])).await["lotId"].take();
        let kilos = |value: &str| json!({ "value": value, "unit": "KGM" });
        let transform = json!({
            "site": "north", "idempotencyKey": key(), "loss": kilos("10"),
            "inputs": [{ "lot": { "code": "milk" }, "quantity": kilos("60") }],
            "outputs": [{ "code": "curd", "lotType": "INTERMEDIATE", "product": "curd", "quantity": kilos("50") }],
        });
        let made = house.mutate(&ann, "transformLots", "lots { id } position", &transform).await;
        let curd = made["lots"][0]["id"].clone();
        house.mutate(&ann, "registerLot", "", &lot("north", "cheese", "16", &[("curd", "20")])).await;
        for (field, code, more) in [
            ("scrapLot", "curd", json!({ "quantity": kilos("5"), "reason": "fell down" })),
            ("sampleLot", "cheese", json!({ "quantity": kilos("1") })),
        ] {
            let mut input = json!({ "site": "north", "idempotencyKey": key(), "lot": { "code": code } });
            input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            house.mutate(&ann, field, "", &input).await;
        }
        let at =
            house.mutate(&ann, "registerLot", "position", &lot("south", "beer", "9", &[])).await["position"].take();
        let after = house.mutate(&ann, "registerLot", "position", &lot("north", "later", "1", &[])).await;
        let _ = at;
        Self { house, ann, admin, milk, curd, at: after["position"].clone() }
    }

    async fn balance(&self, bearer: &str, scope: Value) -> Value {
        self.house.data(bearer, BALANCE, &json!({ "scope": scope, "at": self.at })).await["massBalance"].take()
    }
}

#[tokio::test]
async fn what_came_is_what_went_and_what_is_left() {
    let dairy = Dairy::new("balance").await;
    let found = dairy.balance(&dairy.ann, json!({ "lots": [dairy.milk, dairy.curd] })).await;
    let expected = json!({
        "unit": "KGM", "opening": "0", "registered": "100", "broughtIn": "0", "lost": "10", "used": "20", "scrapped": "5",
        "sampled": "0", "decreased": "0", "shortfall": "0", "closing": "65", "variance": "0", "balanced": true,
    });
    assert_eq!(found, json!({ "lots": 2, "missing": 0, "measures": [expected] }));
    let product = dairy.balance(&dairy.ann, json!({ "product": { "site": "north", "product": "milk" } })).await;
    assert_eq!(product["lots"], 0, "lots are of the product under which they were registered");

    let cheese = "query { lot(site: \"north\", code: \"cheese\") { id product } }";
    let cheese = dairy.house.data(&dairy.ann, cheese, &json!({})).await["lot"].take();
    let short = dairy.balance(&dairy.ann, json!({ "lots": [cheese["id"]] })).await;
    let short = &short["measures"][0];
    assert_eq!(
        (&short["broughtIn"], &short["variance"], &short["closing"]),
        (&json!("20"), &json!("-4"), &json!("15"))
    );

    let whole = json!({ "scope": { "lots": [dairy.milk] }, "from": "2100-01-01T00:00:00Z", "at": dairy.at });
    let later = dairy.house.data(&dairy.ann, BALANCE, &whole).await["massBalance"].take();
    assert_eq!((&later["measures"][0]["opening"], &later["measures"][0]["used"]), (&json!("40"), &json!("0")));
    let none = json!({ "scope": {} });
    dairy.house.graphql(&[("authorization", &dairy.ann)], BALANCE, &none).await.is(200, "GRAPHQL_VALIDATION_FAILED");
}

#[tokio::test]
async fn a_recall_reaches_every_lot_and_accounts_for_all_of_it() {
    let dairy = Dairy::new("recall").await;
    let asked = json!({ "lot": dairy.milk, "at": dairy.at });
    let found = dairy.house.data(&dairy.ann, RECALL, &asked).await["recallScope"].take();
    assert_eq!(
        (&found["complete"], &found["lotCount"], &found["start"]["code"]),
        (&json!(true), &json!(3), &json!("milk"))
    );
    assert_eq!(found["quantity"], json!({ "value": "100", "unit": "KGM" }));
    // 40 of the milk as such; 60 of it in 50 of curd, of which 25 are there, 5 were thrown away and 20 are in 16 of cheese, 1 of it sampled.
    assert_eq!(found["whereabouts"], json!({ "onHand": "92.5", "scrapped": "6", "sampled": "1.5" }));
    assert_eq!(found["unaccounted"]["value"], "0");
    let line = |node: &Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (code, attributed) = (text(&node["lot"]["code"]), text(&node["attributed"]["value"]));
        format!(
            "{code} {attributed} {} {}",
            text(&node["whereabouts"]["onHand"]),
            text(&node["attributedWhereabouts"]["onHand"])
        )
    };
    let lines: Vec<String> = found["lots"]["nodes"].as_array().unwrap().iter().map(line).collect();
    assert_eq!(lines, ["milk 100 40 40", "curd 60 25 30", "cheese 24 15 22.5"]);
}

#[tokio::test]
async fn balances_are_for_validators_at_their_sites() {
    let dairy = Dairy::new("balance-rights").await;
    let house = &dairy.house;
    let operator = house.member(dairy.admin, "olga", None, Role::Operator).await;
    let limited = house.member(dairy.admin, "aud", Some("south"), Role::Auditor).await;
    let (olga, aud) = (house.token(operator).await, house.token(limited).await);
    for bearer in [&olga, &aud] {
        house.until(&[("authorization", bearer)], 200).await;
    }
    let scope = json!({ "scope": { "lots": [dairy.milk] } });
    house.graphql(&[("authorization", &olga)], BALANCE, &scope).await.is(200, "FORBIDDEN");
    assert_eq!(dairy.balance(&aud, json!({ "lots": [dairy.milk] })).await, Value::Null);
    assert_eq!(dairy.balance(&aud, json!({ "product": { "site": "north", "product": "curd" } })).await, Value::Null);
    assert_eq!(dairy.balance(&aud, json!({ "product": { "site": "south", "product": "beer" } })).await["missing"], 0);
    let recall = json!({ "lot": dairy.milk, "at": dairy.at });
    assert_eq!(house.data(&aud, RECALL, &recall).await["recallScope"], Value::Null);
}
