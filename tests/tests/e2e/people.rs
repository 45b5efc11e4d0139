//! People and keys from invitation to end, as an administrator manages them by the API.

use serde_json::{Value, json};

use lotline_tests::client::{Client, key};

use crate::visitor::{ADMIN, Answer, House, PASSWORD};

async fn ask(house: &House, bearer: &str, name: &str, input: &Value) -> Answer {
    let kind = name[..1].to_uppercase() + &name[1..];
    let secret = if ["inviteUser", "issueApiKey"].contains(&name) { "secret" } else { "" };
    let query = format!(
        "mutation($input: {kind}Input!) {{ {name}(input: $input) {{ subjectId {secret} userErrors {{ code }} }} }}"
    );
    house.graphql(&[("authorization", bearer)], &query, &json!({ "input": input })).await
}

async fn done(house: &House, bearer: &str, name: &str, input: &Value) -> Value {
    let answer = ask(house, bearer, name, input).await;
    assert_eq!(answer.body["data"][name]["userErrors"], json!([]), "{name}: {}", answer.body);
    answer.body["data"][name].clone()
}

#[tokio::test]
async fn somebody_is_invited_works_and_leaves() {
    let (house, _) = House::with_admin("people").await;
    let ann = house.bearer(ADMIN).await;
    let invitation = json!({ "idempotencyKey": key(), "email": "olga@dairy.example", "name": "Olga" });
    let invited = done(&house, &ann, "inviteUser", &invitation).await;
    let twice = json!({ "idempotencyKey": key(), "email": "olga@dairy.example", "name": "Other" });
    let taken = ask(&house, &ann, "inviteUser", &twice).await;
    assert_eq!(taken.body["data"]["inviteUser"]["userErrors"][0]["code"], "NAME_TAKEN", "{}", taken.body);
    let set = house.post("password", &[], &json!({ "link": invited["secret"], "password": PASSWORD })).await;
    assert_eq!(set.status, 204, "{}", set.body);
    let olga = house.bearer("olga@dairy.example").await;
    let early = house.register(&[("authorization", &olga)], "L-1").await;
    assert_eq!(early.body["data"]["registerLot"]["userErrors"][0]["code"], "FORBIDDEN", "{}", early.body);
    let roles = json!({ "idempotencyKey": key(), "userId": invited["subjectId"], "roles": ["ADMIN"] });
    done(&house, &ann, "setRoles", &roles).await;
    house.until(&[("authorization", &olga)], 200).await;
    assert_eq!(
        house.register(&[("authorization", &olga)], "L-1").await.body["data"]["registerLot"]["userErrors"],
        json!([])
    );

    let wanted = json!({ "idempotencyKey": key(), "label": "robot", "prefix": "robot", "roles": ["OPERATOR"],
        "expiresAt": "2100-01-01T00:00:00Z" });
    let issued = done(&house, &olga, "issueApiKey", &wanted).await;
    let secret = issued["secret"].as_str().unwrap().to_owned();
    house.until(&[("x-api-key", &secret)], 200).await;

    // Once ADMIN, never again: the answer may be repeated, the secret not.
    let fewer = json!({ "idempotencyKey": key(), "userId": invited["subjectId"], "roles": ["VIEWER"] });
    done(&house, &ann, "setRoles", &fewer).await;
    let again = done(&house, &olga, "issueApiKey", &wanted).await;
    assert_eq!((&again["subjectId"], &again["secret"]), (&issued["subjectId"], &Value::Null));
    let probe =
        ask(&house, &olga, "inviteUser", &json!({ "idempotencyKey": key(), "email": ADMIN, "name": "X" })).await;
    assert_eq!(probe.body["data"]["inviteUser"]["userErrors"][0]["code"], "FORBIDDEN", "{}", probe.body);

    done(&house, &ann, "revokeApiKey", &json!({ "idempotencyKey": key(), "keyId": issued["subjectId"] })).await;
    house.until(&[("x-api-key", &secret)], 401).await;
    let gone = json!({ "idempotencyKey": key(), "userId": invited["subjectId"], "reason": "left" });
    done(&house, &ann, "deactivateUser", &gone).await;
    house.until(&[("authorization", &olga)], 401).await;
    let oracle = house.plant.assert_tables_equal_the_log(&Client::new(&house.server.url, "judge")).await;
    let world = &oracle.world;
    assert_eq!((world.users.len(), world.memberships.len(), world.keys.len()), (2, 2, 1), "{world:#?}");
}
