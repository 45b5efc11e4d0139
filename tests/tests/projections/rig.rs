//! Read models in a database of their own, workers on them, and a look at all their rows.

use std::sync::Arc;
use std::time::Duration;

use lotline_domain::port::LogRead;
use lotline_domain::position::{Position, TopicKind};
use lotline_domain::record::Offset;
use lotline_domain::trace::Traces;
use lotline_projections::model::Model;
use lotline_projections::progress::{self, ModelStatus, Progress};
use lotline_projections::rebuild::Rebuild;
use lotline_projections::worker::{LedgerWorker, SignalsWorker, WorkerContext, WorkerError};
use lotline_tests::stack::{self, Database};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Shared, StoppedClock, tenant};

/// A fresh schema `read`.
pub(crate) struct Rig {
    pub(crate) database: Database,
    pub(crate) progress: Progress,
    _hub: tokio_util::sync::DropGuard,
}

/// A worker that runs until it is dropped or fails.
pub(crate) struct Running {
    pub(crate) task: JoinHandle<Result<(), WorkerError>>,
    pub(crate) cancel: CancellationToken,
}

impl Rig {
    pub(crate) async fn new(name: &str) -> Self {
        let database = stack::database(name).await;
        lotline_projections::migrate(&database.pool).await.expect("the schema can be made");
        let progress = Progress::new(database.pool.clone(), tenant());
        let cancel = CancellationToken::new();
        tokio::spawn(progress.clone().run(cancel.clone()));
        Self { database, progress, _hub: cancel.drop_guard() }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.database.pool
    }

    fn context(&self, log: impl LogRead) -> WorkerContext {
        WorkerContext {
            pool: self.database.pool.clone(),
            log: Arc::new(log),
            clock: Arc::new(StoppedClock),
            tenant: tenant(),
            traces: Traces::default(),
        }
    }

    pub(crate) fn ledger(&self, log: &Shared) -> Running {
        self.ledger_from(log.clone())
    }

    pub(crate) fn ledger_from(&self, log: impl LogRead) -> Running {
        let cancel = CancellationToken::new();
        let worker = LedgerWorker::new(self.context(log), 0);
        Running { task: tokio::spawn(worker.run(cancel.clone())), cancel }
    }

    pub(crate) fn signals(&self, log: &Shared) -> Running {
        let cancel = CancellationToken::new();
        let worker = SignalsWorker::new(self.context(log.clone()), 0);
        Running { task: tokio::spawn(worker.run(cancel.clone())), cancel }
    }

    /// Waits until the ledger's models are at an offset.
    pub(crate) async fn ledger_at(&self, next: Offset) {
        let position = Position::at(TopicKind::Ledger, 0, next);
        self.progress.wait_for(&Model::LEDGER, &position, soon()).await.expect("the models get there");
    }

    /// Waits until samples are at an offset.
    pub(crate) async fn samples_at(&self, next: Offset) {
        let position = Position::at(TopicKind::Signals, 0, next);
        self.progress.wait_for(&[Model::Samples], &position, soon()).await.expect("the samples get there");
    }

    /// Whether whoever waits for the model at an offset is told that it is there and misses nothing.
    pub(crate) async fn is_known_whole_at(&self, model: Model, next: Offset) -> bool {
        let position = Position::at(TopicKind::Ledger, 0, next);
        self.progress.wait_for(&[model], &position, soon()).await.is_ok()
    }

    /// Waits until the table says so, halted streams or not.
    pub(crate) async fn offset_at(&self, model: Model, next: Offset) {
        let deadline = soon();
        while self.status(model).await.is_none_or(|status| status.next_offset < next) {
            assert!(Instant::now() < deadline, "{model} gets to {next}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn status(&self, model: Model) -> Option<ModelStatus> {
        let all = progress::status(self.pool(), &tenant()).await.expect("the status can be read");
        all.into_iter().find(|status| status.model == model)
    }

    /// Every row that readers see of every read model as JSON, in a fixed order, without saying of which generation it is.
    pub(crate) async fn rows(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        for (table, model, order) in [
            ("lots", "'lots'", "id"),
            ("receipts", "'lots'", "lot_id"),
            ("shipments", "'lots'", "id"),
            ("shipment_lots", "'lots'", "shipment_id, lot_id"),
            ("genealogy", "'genealogy'", "child_id, parent_id"),
            ("transformations", "'genealogy'", "id"),
            ("stock_changes", "'genealogy'", "lot_id, sequence"),
            ("holds", "'genealogy'", "id"),
            ("held_lots", "'genealogy'", "hold_id, lot_id"),
            ("qc_decisions", "'qc_decisions'", "id"),
            ("pipelines", "'pipelines'", "id"),
            ("pipeline_versions", "'pipelines'", "pipeline_id, version"),
            ("signals", "'signals'", "site, number"),
            ("products", "'master'", "id"),
            ("partners", "'master'", "id"),
            ("audit", "'audit'", "partition, log_offset"),
            ("audit_state", "'audit'", "subject"),
            ("access_sites", "'access'", "id"),
            ("access_users", "'access'", "id"),
            ("access_memberships", "'access'", "user_id, site"),
            ("access_keys", "'access'", "id"),
            ("access_grants", "'access'", "pipeline_id, user_id"),
            ("scenarios", "'scenarios'", "id"),
            ("scenario_versions", "'scenarios'", "scenario_id, version"),
            ("alerts", "'qc_decisions'", "id"),
            ("runs", "'runs'", "id"),
            ("run_phases", "'runs'", "run_id, phase"),
            ("run_lots", "'runs'", "run_id, lot_id, phase"),
            ("run_decisions", "'runs'", "run_id, sequence"),
            ("signal_latest", "'samples'", "site, number"),
            ("signal_history", "'samples'", "site, number, source_time"),
            ("signal_seen", "'samples'", "collector, epoch"),
            ("projection_offset", "row.model", "model"),
            ("projection_head", "row.model", "model, stream"),
        ] {
            let sql = format!(
                "SELECT ROW_TO_JSON(t)::TEXT FROM (
                    SELECT row.* FROM read.{table} AS row JOIN read.projection_generation AS live
                        ON live.tenant = row.tenant AND live.generation = row.generation AND live.state = 'live' AND live.model = {model}
                    ORDER BY {order}
                 ) AS t"
            );
            let found: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .fetch_all(self.pool())
                .await
                .expect("the table can be read");
            rows.extend(found.into_iter().map(|row| (table.to_owned(), without(without(row, "generation"), "fence"))));
        }
        rows
    }

    /// A rebuild of models of one topic, on connections of its own as in a process of its own.
    pub(crate) fn rebuild(&self, log: impl LogRead, models: &[Model]) -> Rebuild {
        let options = PgPoolOptions::new().max_connections(6);
        let pool = options.connect_lazy_with(self.database.pool.connect_options().as_ref().clone());
        let (clock, traces) = (Arc::new(StoppedClock), Traces::default());
        let context = WorkerContext { pool, log: Arc::new(log), clock, tenant: tenant(), traces };
        Rebuild { context, models: models.to_vec(), restart: false, lanes: 4 }
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.pool()).await.expect("the rows can be counted")
    }
}

impl Running {
    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        self.task.await.expect("the worker does not panic").expect("the worker stops cleanly");
    }
}

/// A row without one of its numbers.
fn without(row: String, column: &str) -> String {
    let Some((head, tail)) = row.split_once(&format!(",\"{column}\":")) else { return row };
    let rest = tail.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{head}{rest}")
}

/// A deadline that only a defect misses.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_mins(1)
}
