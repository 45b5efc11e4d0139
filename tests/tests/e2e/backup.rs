//! PostgreSQL is lost and comes back: what only it held is restored from a backup, everything else is built again from the log.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use lotline_domain::access::role::Role;
use lotline_tests::client::{Client, decision, lot};
use lotline_tests::server::Log;
use lotline_tests::stack;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::site::{Plant, SITE};
use crate::tools::{said, tool};
use crate::visitor::{ADMIN, House};

const NOTES: &str = "Bob smelled something";

/// Runs `backup.sh` or `restore.sh` on the plant's database, with the programs of this PostgreSQL.
fn script(name: &str, plant: &Plant, file: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/deploy").join(name);
    let path = format!("{}:{}", stack::postgres_programs().display(), std::env::var("PATH").unwrap_or_default());
    Command::new(script).arg(&plant.settings.database).arg(file).env("PATH", path).output().expect("the script runs")
}

fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Drops the database with all that is in it, and makes an empty one of that name.
async fn lose(plant: &Plant) {
    let (server, name) = plant.settings.database.rsplit_once('/').unwrap();
    let mut admin = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
    for statement in [format!("DROP DATABASE {name} WITH (FORCE)"), format!("CREATE DATABASE {name}")] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut admin).await.unwrap();
    }
    admin.close().await.unwrap();
}

/// What is known of a lot's decisions, once the position is visible.
async fn decisions(client: &Client, code: &str, at: &Value) -> Value {
    let query = "query($site: String!, $code: String!, $at: PositionToken) { lot(site: $site, code: $code, consistentWith: $at) {
        qcDecisions(first: 10) { outcome notes notesErased } } }";
    let data = client.query(query, &json!({ "site": SITE, "code": code, "at": at })).await;
    data["lot"]["qcDecisions"].clone()
}

fn held(notes: &Value, erased: bool) -> Value {
    json!([{ "outcome": "HOLD", "notes": notes, "notesErased": erased }])
}

/// A plant that has worked and is backed up while it does. Gives the command with notes and its answer.
async fn worked(plant: &Plant, file: &Path) -> (Value, Value) {
    assert!(complaint(&script("backup.sh", plant, file)).contains("no database of Lotline"));
    let mut server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    ann.mutate("registerLot", "", &lot(SITE, "L-1", "5", &[])).await;
    let mut hold = decision(SITE, "L-1", "HOLD");
    hold["notes"] = json!(NOTES);
    let answer = ann.mutate("recordQcDecision", "", &hold).await;
    assert_eq!(decisions(&ann, "L-1", &answer["position"]).await, held(&json!(NOTES), false));
    plant.sample(1, 1.5).await;
    said(&script("backup.sh", plant, file));
    // After the backup: a lot, and the notes of somebody who had not written any before.
    ann.mutate("registerLot", "", &lot(SITE, "L-2", "5", &[])).await;
    let mut late = decision(SITE, "L-2", "HOLD");
    late["notes"] = json!("Eve was late");
    Client::new(&server.url, "ben").mutate("recordQcDecision", "", &late).await;
    assert!(server.stop(Duration::from_secs(20)).await, "{}", server.printed());
    (hold, answer)
}

fn backup_file(plant: &Plant) -> PathBuf {
    plant.settings.folder.join("lotline.backup")
}

#[tokio::test]
async fn a_lost_database_beside_kafka_comes_back() {
    let plant = Plant::new("backup", Log::Kafka).await;
    let file = backup_file(&plant);
    let (hold, answer) = worked(&plant, &file).await;

    // Without the backup: the ledger is whole, and what people wrote can't be read.
    lose(&plant).await;
    let mut server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let oracle = plant.assert_tables_equal_the_log(&ann).await;
    assert_eq!(oracle.world.lots.len(), 2);
    assert_eq!(decisions(&ann, "L-1", &answer["position"]).await, held(&json!(null), true));
    assert!(server.stop(Duration::from_secs(20)).await, "{}", server.printed());
    assert!(complaint(&script("restore.sh", &plant, &file)).contains("a server has used this database"));

    // With it: everything is as it was.
    lose(&plant).await;
    assert!(complaint(&script("restore.sh", &plant, &file)).contains("run `lotline migrate`"));
    said(&tool(&plant, &["migrate"]));
    assert!(complaint(&script("backup.sh", &plant, &file)).contains("no server has used this database"));
    assert!(said(&script("restore.sh", &plant, &file)).contains("1 personal keys, 0 records"));
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let again = ann.mutate("recordQcDecision", "", &hold).await;
    assert_eq!((&again["version"], &again["replayed"]), (&answer["version"], &json!(true)));
    let oracle = plant.assert_tables_equal_the_log(&ann).await;
    assert_eq!(oracle.world.lots.len(), 2, "also what came after the backup");
    assert_eq!(decisions(&ann, "L-1", &answer["position"]).await, held(&json!(NOTES), false));
    // Ben's key was made after the backup: his notes are gone, and only they.
    assert_eq!(decisions(&ann, "L-2", &json!(null)).await, held(&json!(null), true));
    plant.sample(2, 2.5).await;
    said(&tool(&plant, &["log", "stats"]));
}

#[tokio::test]
async fn a_lost_embedded_log_comes_back_as_it_was_saved() {
    let plant = Plant::new("backup", Log::Postgres).await;
    let file = backup_file(&plant);
    let (hold, answer) = worked(&plant, &file).await;
    lose(&plant).await;
    said(&tool(&plant, &["migrate"]));
    // The lot, the HOLD with its hold and its alert, and the sample; what came later was not saved.
    assert!(said(&script("restore.sh", &plant, &file)).contains("1 personal keys, 5 records"));
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let again = ann.mutate("recordQcDecision", "", &hold).await;
    assert_eq!((&again["version"], &again["replayed"]), (&answer["version"], &json!(true)));
    assert_eq!(decisions(&ann, "L-1", &answer["position"]).await, held(&json!(NOTES), false));
    // What came after the backup is gone, so it can be done again.
    ann.mutate("registerLot", "", &lot(SITE, "L-2", "7", &[])).await;
    let oracle = plant.assert_tables_equal_the_log(&ann).await;
    assert_eq!(oracle.world.lots.len(), 2);
    plant.sample(2, 2.5).await;
    said(&tool(&plant, &["log", "stats"]));
}

/// Names, passwords and keys are in the backup; sessions are not, for whoever stole it could go on with them.
#[tokio::test]
async fn who_could_sign_in_can_sign_in_again() {
    let (mut house, admin) = House::with_admin("backup-people").await;
    let (_, robot) = house.key(admin, "robot", &[Role::Operator]).await;
    house.until(&[("x-api-key", &robot)], 200).await;
    let session = house.bearer(ADMIN).await;
    let file = backup_file(&house.plant);
    said(&script("backup.sh", &house.plant, &file));
    assert!(house.server.stop(Duration::from_secs(20)).await, "{}", house.server.printed());
    lose(&house.plant).await;
    said(&tool(&house.plant, &["migrate"]));
    said(&script("restore.sh", &house.plant, &file));
    house.serve_again().await;

    house.until(&[("x-api-key", &robot)], 200).await;
    let old = house.graphql(&[("authorization", &session)], "{ tenant }", &json!({})).await;
    assert_eq!(old.status, 401, "{}", old.body);
    let wrong = json!({ "email": ADMIN, "password": "nine goats on the roof" });
    house.post("sign-in", &[], &wrong).await.is(401, "SIGN_IN_REFUSED");
    let ann = house.bearer(ADMIN).await;
    for (headers, code) in [([("authorization", ann.as_str())], "L-1"), ([("x-api-key", robot.as_str())], "L-2")] {
        let registered = house.register(&headers, code).await;
        assert_eq!(registered.body["data"]["registerLot"]["userErrors"], json!([]), "{}", registered.body);
    }
}
