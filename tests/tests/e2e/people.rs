//! People and keys from invitation to end, as an administrator manages them by the API.

use lotline_adapters::personal_keys::PostgresPersonalKeys;
use lotline_domain::access::role::Role;
use lotline_domain::id::TenantId;
use lotline_tests::client::{Client, key};
use serde_json::{Value, json};

use crate::visitor::{ADMIN, Answer, House, PASSWORD};

async fn ask(house: &House, bearer: &str, name: &str, input: &Value) -> Answer {
    let kind = name[..1].to_uppercase() + &name[1..];
    let secret = if ["inviteUser", "issueApiKey", "issuePasswordReset"].contains(&name) { "secret" } else { "" };
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

/// Somebody who was invited and has set the usual password. Gives their id.
async fn invited(house: &House, ann: &str, email: &str, name: &str) -> Value {
    let invitation = json!({ "idempotencyKey": key(), "email": email, "name": name });
    let invited = done(house, ann, "inviteUser", &invitation).await;
    let set = house.post("password", &[], &json!({ "link": invited["secret"], "password": PASSWORD })).await;
    assert_eq!(set.status, 204, "{}", set.body);
    invited["subjectId"].clone()
}

async fn signs_in(house: &House, email: &str, password: &str) -> bool {
    house.post("sign-in", &[], &json!({ "email": email, "password": password })).await.status == 200
}

async fn refused(house: &House, bearer: &str, name: &str, input: &Value) -> Value {
    ask(house, bearer, name, input).await.body["data"][name]["userErrors"][0]["code"].take()
}

#[tokio::test]
async fn another_profile_is_another_login_name() {
    let (house, _) = House::with_admin("people-profile").await;
    let ann = house.bearer(ADMIN).await;
    let olga = invited(&house, &ann, "olga@dairy.example", "Olga").await;
    let bearer = house.bearer("olga@dairy.example").await;
    let change =
        |email: &str, name: &str| json!({ "idempotencyKey": key(), "userId": olga, "email": email, "name": name });

    let own = refused(&house, &bearer, "changeUserProfile", &change("chief@dairy.example", "Olga")).await;
    assert_eq!(own, "FORBIDDEN");
    assert_eq!(
        refused(&house, &bearer, "changeUserProfile", &change(ADMIN, "Olga")).await,
        "FORBIDDEN",
        "names are not told"
    );
    assert_eq!(refused(&house, &ann, "changeUserProfile", &change(ADMIN, "Olga")).await, "NAME_TAKEN");
    assert_eq!(refused(&house, &ann, "changeUserProfile", &change("olga", "Olga")).await, "INVALID_EMAIL");
    let mut nobody = change("nobody@dairy.example", "Nobody");
    nobody["userId"] = json!(key());
    assert_eq!(refused(&house, &ann, "changeUserProfile", &nobody).await, "UNKNOWN_USER");
    let mut stale = change("late@dairy.example", "Olga");
    stale["expectedVersion"] = json!(1);
    assert_eq!(refused(&house, &ann, "changeUserProfile", &stale).await, "VERSION_CONFLICT");
    assert!(signs_in(&house, "olga@dairy.example", PASSWORD).await, "nothing has changed yet");

    let first = change("olga.li@dairy.example", "Olga Li");
    done(&house, &ann, "changeUserProfile", &first).await;
    assert!(signs_in(&house, "olga.li@dairy.example", PASSWORD).await);
    assert!(!signs_in(&house, "olga@dairy.example", PASSWORD).await, "the name before is nobody's");
    house.until(&[("authorization", &bearer)], 200).await;
    // What was refused or given up holds no name back.
    for free in ["olga@dairy.example", "nobody@dairy.example", "late@dairy.example"] {
        invited(&house, &ann, free, "Other").await;
    }
    done(&house, &ann, "changeUserProfile", &change("olga.ng@dairy.example", "Olga Ng")).await;
    done(&house, &ann, "changeUserProfile", &first).await;
    assert!(signs_in(&house, "olga.ng@dairy.example", PASSWORD).await, "what comes again late changes nothing");
    assert!(!signs_in(&house, "olga.li@dairy.example", PASSWORD).await);
    let me = house.data(&bearer, "{ me { user { name email active memberships { site } } } }", &json!({})).await;
    let shown = json!({ "name": "Olga Ng", "email": "olga.ng@dairy.example", "active": true, "memberships": [] });
    assert_eq!(me["me"]["user"], shown, "everybody sees themselves");
}

#[tokio::test]
async fn a_reset_ends_sessions_and_who_left_may_come_back() {
    let (house, _) = House::with_admin("people-reset").await;
    let ann = house.bearer(ADMIN).await;
    let olga = invited(&house, &ann, "olga@dairy.example", "Olga").await;
    let bearer = house.bearer("olga@dairy.example").await;
    let about = || json!({ "idempotencyKey": key(), "userId": olga, "reason": "asked for it" });
    assert_eq!(refused(&house, &bearer, "issuePasswordReset", &about()).await, "FORBIDDEN");
    house.until(&[("authorization", &bearer)], 200).await;

    let wanted = about();
    let reset = done(&house, &ann, "issuePasswordReset", &wanted).await;
    house.until(&[("authorization", &bearer)], 401).await;
    let again = done(&house, &ann, "issuePasswordReset", &wanted).await;
    let other = "eight cows in the mist";
    let set = |link: &Value| json!({ "link": link, "password": other });
    assert_eq!(
        house.post("password", &[], &set(&reset["secret"])).await.status,
        410,
        "the second link is in its place"
    );
    assert_eq!(house.post("password", &[], &set(&again["secret"])).await.status, 204);
    assert!(signs_in(&house, "olga@dairy.example", other).await);
    assert!(!signs_in(&house, "olga@dairy.example", PASSWORD).await);

    assert_eq!(refused(&house, &ann, "reactivateUser", &about()).await, "USER_ACTIVE");
    done(&house, &ann, "deactivateUser", &about()).await;
    assert_eq!(refused(&house, &ann, "issuePasswordReset", &about()).await, "USER_DEACTIVATED");
    assert!(!signs_in(&house, "olga@dairy.example", other).await);
    done(&house, &ann, "reactivateUser", &about()).await;
    assert!(signs_in(&house, "olga@dairy.example", other).await);
    let trail =
        "{ auditTrail(first: 9, filter: {eventType: \"lotline.user.password_reset_issued.v1\"}) { nodes { reason } } }";
    let trail = house.data(&ann, trail, &json!({})).await;
    assert_eq!(
        trail["auditTrail"]["nodes"],
        json!([{ "reason": "asked for it" }]),
        "once, though it was asked for twice"
    );
}

const USERS: &str = "query($after: String) { users(first: 2, after: $after) { pageInfo { hasNextPage endCursor } \
    nodes { userId name email erased active memberships { site roles permissions } } } }";

#[tokio::test]
async fn people_and_keys_are_listed_for_those_who_may_know() {
    let (house, admin) = House::with_sites("people-lists", &["north", "south"]).await;
    let ann = house.bearer(ADMIN).await;
    let olga = house.member(admin, "olga", Some("north"), Role::Operator).await;
    let greg = house.member(admin, "greg", None, Role::Auditor).await;
    let (olga_bearer, greg_bearer) = (house.token(olga).await, house.token(greg).await);
    house.until(&[("authorization", &greg_bearer)], 200).await;
    let wanted = json!({ "idempotencyKey": key(), "label": "robot", "prefix": "robot", "roles": ["OPERATOR"],
        "sites": ["south"], "expiresAt": "2100-01-01T00:00:00Z" });
    let issued = done(&house, &ann, "issueApiKey", &wanted).await;
    done(&house, &ann, "setRoles", &json!({ "idempotencyKey": key(), "userId": olga, "roles": ["VIEWER"] })).await;
    let position =
        house.mutate(&ann, "deactivateUser", "position", &json!({ "userId": olga })).await["position"].take();
    let seen = "query($at: PositionToken) { users(first: 1, consistentWith: $at) { nodes { userId } } }";
    house.data(&ann, seen, &json!({ "at": position })).await;

    let first = house.data(&ann, USERS, &json!({})).await["users"].take();
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let (newest, next) = (&first["nodes"][0], &first["nodes"][1]);
    assert_eq!((&newest["name"], &newest["email"]), (&json!("greg"), &json!("greg@dairy.example")));
    let memberships = json!([{ "site": null, "roles": ["AUDITOR"], "permissions": ["LOOK_UP", "VALIDATE"] }]);
    assert_eq!(newest["memberships"], memberships);
    let memberships = json!([
        { "site": null, "roles": ["VIEWER"], "permissions": ["LOOK_UP"] },
        { "site": "north", "roles": ["OPERATOR"], "permissions": ["LOOK_UP", "DECIDE", "EXECUTE_PIPELINES"] },
    ]);
    assert_eq!((&next["userId"], &next["active"], &next["memberships"]), (&json!(olga), &json!(false), &memberships));
    let rest = house.data(&ann, USERS, &json!({ "after": first["pageInfo"]["endCursor"] })).await["users"].take();
    assert_eq!((rest["nodes"][0]["name"].as_str(), &rest["nodes"][1]), (Some("Ann Li"), &Value::Null));

    let seen = house.data(&greg_bearer, USERS, &json!({})).await["users"]["nodes"].take();
    assert_eq!((&seen[0]["name"], &seen[1]["name"], &seen[1]["email"]), (&json!("greg"), &Value::Null, &Value::Null));
    assert_eq!(seen[1]["memberships"], memberships, "roles are for whoever validates, names are not");
    house.until(&[("authorization", &olga_bearer)], 401).await;

    let keys = "{ apiKeys(first: 9) { nodes { keyId label prefix roles sites revokedAt lastUsedAt } } }";
    house.graphql(&[("authorization", &greg_bearer)], keys, &json!({})).await.is(200, "FORBIDDEN");
    let listed = house.data(&ann, keys, &json!({})).await["apiKeys"]["nodes"].take();
    let robot = json!({ "keyId": issued["subjectId"], "label": "robot", "prefix": "robot", "roles": ["OPERATOR"],
        "sites": ["south"], "revokedAt": null, "lastUsedAt": null });
    assert_eq!(listed, json!([robot]));
    let secret = issued["secret"].as_str().unwrap();
    let me = house
        .graphql(&[("x-api-key", secret)], "{ me { actor user { name } memberships { site roles } } }", &json!({}))
        .await;
    let actor = format!("key:{}", issued["subjectId"].as_str().unwrap());
    let memberships = json!([{ "site": "south", "roles": ["OPERATOR"] }]);
    assert_eq!(me.body["data"]["me"], json!({ "actor": actor, "user": null, "memberships": memberships }));

    let keys = PostgresPersonalKeys::new(house.plant.database.pool.clone());
    let tenant = TenantId::new(house.plant.settings.tenant.clone()).unwrap();
    assert!(keys.destroy(&tenant, &olga.actor()).await.unwrap());
    let erased = house.data(&ann, USERS, &json!({})).await["users"]["nodes"][1].take();
    let fields = [&erased["name"], &erased["email"], &erased["erased"], &erased["userId"]];
    assert_eq!(fields, [&Value::Null, &Value::Null, &json!(true), &json!(olga)]);
}
