//! The same log gives the same rows: whatever the batches, however many projectors, and wherever one of them dies.

use std::time::Duration;

use lotline_domain::command::Command;
use lotline_domain::master::MasterCommand;
use lotline_domain::master::partner::DefinePartner;
use lotline_domain::master::product::{ConversionInput, DefineProduct};
use lotline_domain::pipeline::{Definition, Edge, Task};
use lotline_domain::signal::{Address, DataType, ModbusTable, WordOrder};
use lotline_projections::model::Model;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;

use crate::fixture::{FakeLog, Plant, register};
use crate::rig::{Rig, soon};

fn definition(config: &str) -> Definition {
    let task =
        |id: &str| Task { id: id.into(), kind: "extract.csv".into(), config: serde_json::json!({ "path": config }) };
    Definition {
        tasks: vec![task("read"), task("write")],
        edges: vec![Edge { from: "read".into(), to: "write".into() }],
    }
}

fn declare(name: &str) -> Command {
    Command::DeclareSignal(lotline_domain::command::DeclareSignal {
        name: name.into(),
        description: None,
        unit: "Cel".into(),
        data_type: DataType::F32,
        device: "pasteuriser".into(),
        address: Address::Modbus {
            unit: 1,
            table: ModbusTable::HoldingRegisters,
            address: 7,
            word_order: WordOrder::default(),
        },
        scale: Some("0.1".into()),
        offset: None,
    })
}

/// A product and a partner that are new every second round and else changed, twice in a row.
fn define(plant: &mut Plant, round: usize) {
    for active in [round.is_multiple_of(2), true] {
        let product = DefineProduct {
            code: format!("P-{}", round / 2),
            name: format!("product {round}"),
            gtin: active.then(|| ["4012345678901", "614141000036"][round / 2].to_owned()),
            unit: "C62".into(),
            conversions: vec![ConversionInput { unit: "KGM".into(), factor: format!("0.{}", round + 1) }],
            shelf_life_days: active.then_some(28),
            active,
        };
        let partner = DefinePartner {
            code: format!("B-{}", round / 2),
            name: format!("partner {round}"),
            gln: active.then(|| ["9506000140445", "4000001000005"][round / 2].to_owned()),
            supplies: active,
            buys: true,
            active,
        };
        for command in [MasterCommand::DefineProduct(product), MasterCommand::DefinePartner(partner)] {
            plant.decide("_tenant", Command::Master(command));
        }
    }
}

/// Two plants and the tenant's own stream, mixed.
pub(crate) fn busy_ledger() -> Plant {
    let mut plant = Plant::new(FakeLog::shared("lotline.dairy.ledger.v1", 5_000));
    plant.decide("north", declare("pasteuriser.temperature"));
    for round in 0..4 {
        plant.day(["north", "south"][round % 2], 600);
        let name = format!("intake {round}");
        let (event, _) = plant.decide("_tenant", Command::DraftPipeline { name, definition: definition("a") });
        let lotline_domain::event::Event::PipelineDrafted(drafted) = event else { panic!("the draft is accepted") };
        let pipeline_id = drafted.pipeline_id;
        plant.decide("_tenant", Command::PublishPipeline { pipeline_id });
        crate::access::day(&mut plant, round, pipeline_id);
        define(&mut plant, round);
        crate::lots::day(&mut plant, ["north", "south"][round % 2], round);
        crate::process::day(&mut plant, round);
        let name = format!("intake {round} b");
        plant.decide("_tenant", Command::RevisePipeline { pipeline_id, name, definition: definition("nul \0") });
        plant.decide("_tenant", Command::PublishPipeline { pipeline_id });
        plant.decide("_tenant", Command::PublishPipeline { pipeline_id });
        plant.decide("_tenant", Command::ArchivePipeline { pipeline_id });
    }
    plant
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_do_not_depend_on_batches_or_restarts() {
    let plant = busy_ledger();
    let end = plant.log.0.next();
    let whole = Rig::new("replay_whole").await;
    let worker = whole.ledger(&plant.log);
    whole.ledger_at(end).await;
    worker.stop().await;
    let expected = whole.rows().await;
    for (table, least) in [
        ("lots", 1_400),
        ("genealogy", 1_400),
        ("receipts", 12),
        ("shipments", 8),
        ("shipment_lots", 16),
        ("qc_decisions", 400),
        ("holds", 100),
        ("held_lots", 100),
        ("pipeline_versions", 8),
        ("products", 2),
        ("partners", 2),
        ("scenarios", 4),
        ("scenario_versions", 8),
        ("runs", 4),
        ("run_phases", 10),
        ("run_lots", 8),
        ("run_decisions", 16),
        ("access_users", 9),
        ("access_memberships", 5),
        ("access_keys", 4),
        ("access_grants", 4),
    ] {
        let found = expected.iter().filter(|(name, _)| name == table).count();
        assert!(found >= least, "{table} has only {found} rows");
    }
    assert_eq!(expected.iter().filter(|(name, _)| name == "audit").count(), plant.log.0.len());

    // Reads of 5,000 go in by COPY, the others as arrays.
    for at_most in [47, 400] {
        let pieces = Rig::new("replay_pieces").await;
        let log = plant.log.0.copy(at_most);
        for half in [end / 2, end] {
            let worker = pieces.ledger(&log);
            pieces.ledger_at(half).await;
            worker.stop().await;
        }
        assert_eq!(pieces.rows().await, expected, "in reads of {at_most}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_projectors_on_one_partition_apply_once() {
    let reference = Rig::new("two_reference").await;
    let plant = busy_ledger();
    let worker = reference.ledger(&plant.log);
    reference.ledger_at(plant.log.0.next()).await;
    worker.stop().await;

    let rig = Rig::new("two_projectors").await;
    let (one, other) = (rig.ledger(&plant.log.0.copy(50)), rig.ledger(&plant.log.0.copy(30)));
    rig.ledger_at(plant.log.0.next()).await;
    one.stop().await;
    other.stop().await;
    assert_eq!(rig.rows().await, reference.rows().await);
}

/// A model's transaction is held up by a lock after its offset moved, and then its connection is killed, as by a crash.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_rows_and_offset_applies_nothing() {
    for (events, statement) in [(20, "INSERT INTO read.audit (%"), (500, "COPY read.audit (%")] {
        crash_in(statement, events).await;
    }
}

async fn crash_in(statement: &str, events: usize) {
    let rig = Rig::new("crash").await;
    let mut plant = Plant::new(FakeLog::shared("lotline.dairy.ledger.v1", 5_000));
    plant.day("north", events as u64 / 2);
    // Exactly so many: a worker reads that many at first, and from as many on rows are copied.
    while plant.log.0.len() < events {
        plant.decide("north", register("", &[]));
    }
    let end = plant.log.0.next();

    let mut blocker = PgConnection::connect(&rig.database.url).await.unwrap();
    let mut lock = blocker.begin().await.unwrap();
    sqlx::query("LOCK TABLE read.audit IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let worker = rig.ledger(&plant.log);
    rig.offset_at(Model::Lots, end).await;
    let stuck = wait_for_stuck_writer(&rig, statement).await;
    let mut admin = PgConnection::connect(&rig.database.url).await.unwrap();
    let killed: bool =
        sqlx::query_scalar("SELECT pg_terminate_backend($1)").bind(stuck).fetch_one(&mut admin).await.unwrap();
    assert!(killed);
    wait_for_stuck_writer(&rig, statement).await; // the worker has come back and tries again
    assert_eq!(rig.status(Model::Audit).await.unwrap().next_offset, 0, "the offset fell back with the rows");
    worker.task.abort(); // and now the process dies in the same place
    assert!(worker.task.await.unwrap_err().is_cancelled());
    lock.rollback().await.unwrap();
    assert_eq!(rig.count("SELECT COUNT(*) FROM read.audit").await, 0);
    assert_eq!(rig.count("SELECT COUNT(*) FROM read.audit_state").await, 0);

    let successor = rig.ledger(&plant.log);
    rig.ledger_at(end).await;
    successor.stop().await;
    assert_eq!(rig.count("SELECT COUNT(*) FROM read.audit").await, plant.log.0.len() as i64);
    assert!(!rig.status(Model::Audit).await.unwrap().is_degraded(), "an outage is not poison");
}

async fn wait_for_stuck_writer(rig: &Rig, statement: &str) -> i32 {
    let deadline = soon();
    loop {
        let found: Option<i32> = sqlx::query_scalar(
            "SELECT pid FROM pg_stat_activity
             WHERE datname = CURRENT_DATABASE() AND wait_event_type = 'Lock' AND query LIKE $1",
        )
        .bind(statement)
        .fetch_optional(rig.pool())
        .await
        .unwrap();
        match found {
            Some(pid) => return pid,
            None => assert!(tokio::time::Instant::now() < deadline, "the audit model gets to its rows"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// PostgreSQL believes that there are no rows, as of any generation that is being built. Look-ups must not read all of them for each batch.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_looked_up_is_found_without_reading_the_rest() {
    let plant = busy_ledger();
    let rig = Rig::new("lookups").await;
    for table in ["lots", "audit", "audit_state", "pipelines"] {
        let sql = format!("ALTER TABLE read.{table} SET (autovacuum_enabled = false); ANALYZE read.{table}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(rig.pool()).await.unwrap();
    }
    let worker = rig.ledger(&plant.log.0.copy(47));
    rig.ledger_at(plant.log.0.next()).await;
    worker.stop().await;
    // What a connection has counted is there for others when it ends.
    let options = rig.pool().connect_options().as_ref().clone();
    rig.pool().close().await;
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let counted = "SELECT COALESCE(SUM(idx_tup_fetch + seq_tup_read), 0)::BIGINT, COALESCE(SUM(n_tup_ins), 0)::BIGINT
        FROM pg_stat_user_tables WHERE schemaname = 'read' AND relname IN ('lots', 'audit', 'audit_state', 'pipelines')";
    let deadline = soon();
    let (read, written) = loop {
        let (read, written): (i64, i64) = sqlx::query_as(counted).fetch_one(&pool).await.unwrap();
        if written >= plant.log.0.len() as i64 * 3 / 2 {
            break (read, written);
        }
        assert!(Instant::now() < deadline, "the counts arrive: {read} read, {written} written");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(read < 2 * written, "{read} rows were read to write {written}");
}
