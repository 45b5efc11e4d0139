//! Read models of simulated histories on a real PostgreSQL: whatever befalls the projectors, the tables equal a fold of the log.
//!
//! The history of a seed is written to a log piece by piece while two of the product's workers follow each partition. They are stopped, dropped
//! half-way and started again, and their connections are cut. Real sockets keep their own time, so a seed names the history and the
//! blows here, not their exact moments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lotline_adapters::log::memory::{Fault, MemoryLog};
use lotline_domain::id::TenantId;
use lotline_domain::port::{Clock, EventLog, LogRead};
use lotline_domain::timestamp::Timestamp;
use lotline_domain::trace::Traces;
use lotline_projections::model::Model;
use lotline_projections::progress;
use lotline_projections::worker::{LedgerWorker, WorkerContext, WorkerError};
use lotline_tests::oracle::{Oracle, tables};
use lotline_tests::stack;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::ports::EPOCH;
use crate::seeds;
use crate::world::Remains;

/// Histories that are followed to the end.
const HISTORIES: u64 = 40;
/// Histories within which a planted bug must be found.
const WITHIN: u64 = 20;
/// How long the models may take to get to the end of a history. Only a failing test waits this long.
const DEADLINE: Duration = Duration::from_secs(40);
const PROJECTORS: usize = 2;

struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::parse(EPOCH).expect("a valid time")
    }
}

/// A projector that was started.
struct Running {
    partition: u32,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), WorkerError>>,
}

/// One history and those who follow it.
struct Following<'a> {
    pool: &'a PgPool,
    log: MemoryLog,
    tenant: TenantId,
    chance: Chance,
    running: Vec<Running>,
}

impl Following<'_> {
    fn start(&mut self, partition: u32) {
        let context = WorkerContext {
            pool: self.pool.clone(),
            log: Arc::new(self.log.clone()),
            clock: Arc::new(StoppedClock),
            tenant: self.tenant.clone(),
            traces: Traces::default(),
        };
        let cancel = CancellationToken::new();
        let task = tokio::spawn(LedgerWorker::new(context, partition).run(cancel.clone()));
        self.running.push(Running { partition, cancel, task });
    }

    /// Appends a history, with blows to the projectors between its pieces.
    async fn write(&mut self, remains: &Remains) -> Result<(), String> {
        let mut left: BTreeMap<u32, &[_]> = (0..).zip(remains.records.iter().map(Vec::as_slice)).collect();
        while !left.is_empty() {
            let partitions: Vec<u32> = left.keys().copied().collect();
            let partition = *self.chance.pick(&partitions);
            let records = left[&partition];
            let (piece, rest) = records.split_at(records.len().min(self.chance.between(1, 25) as usize));
            if self.chance.odds(0.3) {
                self.log.faults().push(Fault::Gap(self.chance.between(1, 3) as u32));
            }
            if !piece.is_empty() {
                let mut writer = self.log.writer(partition).await.map_err(|error| error.to_string())?;
                let piece = piece.iter().map(|stored| stored.record.clone()).collect();
                writer.append(piece).await.map_err(|error| error.to_string())?;
            }
            if rest.is_empty() {
                left.remove(&partition)
            } else {
                left.insert(partition, rest)
            };
            self.blow().await?;
        }
        Ok(())
    }

    async fn blow(&mut self) -> Result<(), String> {
        match self.chance.between(0, 9) {
            0 => {
                // As a process that dies: what was under way is dropped where it stands.
                let one = self.running.swap_remove(self.chance.below(self.running.len()));
                one.task.abort();
                ended(one.task.await)?;
                self.start(one.partition);
            }
            1 => {
                let one = self.running.swap_remove(self.chance.below(self.running.len()));
                one.cancel.cancel();
                ended(one.task.await)?;
                self.start(one.partition);
            }
            2 => {
                // Errors here are the cuts themselves: this connection is one of those that may be cut.
                let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                           WHERE datname = CURRENT_DATABASE() AND pid <> pg_backend_pid() ORDER BY hashint4extended(pid, $1) LIMIT 3";
                drop(sqlx::query(cut).bind(self.chance.between(0, 1 << 40) as i64).execute(self.pool).await);
            }
            3..6 => sleep(self.chance.millis(0, 15)).await,
            _ => {}
        }
        Ok(())
    }

    /// Waits until every model has seen all, and compares.
    async fn compare(&self) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(failed) = self.running.iter().find(|one| one.task.is_finished()) {
                return Err(format!("a projector of partition {} has ended", failed.partition));
            }
            let all = progress::status(self.pool, &self.tenant).await.unwrap_or_default();
            if let Some(degraded) = all.iter().find(|status| status.is_degraded()) {
                return Err(format!("a model is degraded: {degraded:?}"));
            }
            let mut behind = Vec::new();
            for partition in 0..self.log.partitions() {
                let end = self.log.end(partition).await.map_err(|error| error.to_string())?;
                let is_there = |model: &Model| {
                    all.iter().any(|at| at.model == *model && at.partition == partition && at.next_offset >= end)
                };
                behind.extend(Model::LEDGER.iter().filter(|model| !is_there(model)).map(|model| (partition, *model)));
            }
            if behind.is_empty() {
                break;
            }
            if Instant::now() > deadline {
                return Err(format!("these models do not get to the end: {behind:?}"));
            }
            sleep(Duration::from_millis(5)).await;
        }
        let (found, expected) = (tables(self.pool, self.tenant.as_str()).await, Oracle::read(&self.log).await.world);
        if found == expected { Ok(()) } else { Err(format!("found {found:#?}\nexpected {expected:#?}")) }
    }
}

fn ended(joined: Result<Result<(), WorkerError>, tokio::task::JoinError>) -> Result<(), String> {
    match joined {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("a projector gave up: {error}")),
        Err(error) if error.is_cancelled() => Ok(()),
        Err(error) => Err(format!("a projector failed: {error}")),
    }
}

async fn follow(pool: &PgPool, seed: u64) -> Result<(), String> {
    let tenant = format!("s{seed}");
    let name = tenant.clone();
    // A simulated world brings its own runtime.
    let lived = std::thread::spawn(move || seeds::live(seed, name, None)).join();
    let remains = lived.map_err(|_| "the history could not be made".to_owned())??;
    let log = MemoryLog::new(format!("lotline.{tenant}.ledger.v1"), remains.plan.partitions);
    let tenant = TenantId::new(tenant).expect("a valid tenant");
    let mut following = Following { pool, log, tenant, chance: Chance::new(seed), running: Vec::new() };
    for partition in 0..remains.plan.partitions {
        (0..PROJECTORS).for_each(|_| following.start(partition));
    }
    let written = following.write(&remains).await;
    let compared = match written {
        Ok(()) => following.compare().await,
        Err(wrong) => Err(wrong),
    };
    for one in following.running {
        one.cancel.cancel();
        drop(one.task.await);
    }
    compared
}

async fn read_models(name: &str) -> PgPool {
    let database = stack::database(name).await;
    lotline_projections::migrate(&database.pool).await.expect("the schema can be made");
    // What a planted bug leaves to chance is drawn anew by each session, from the same seeds in every run.
    let sessions = Arc::new(AtomicU32::new(0));
    let options =
        PgPoolOptions::new().max_connections(24).acquire_timeout(DEADLINE).after_connect(move |session, _| {
            let seed = f64::from(sessions.fetch_add(1, Ordering::Relaxed) % 1_000) / 1_000.0;
            Box::pin(async move { sqlx::query("SELECT setseed($1)").bind(seed).execute(session).await.map(drop) })
        });
    options.connect(&database.url).await.expect("the new database answers")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_models_equal_a_fold() {
    let pool = read_models("simulated").await;
    for seed in 0..HISTORIES {
        if let Err(wrong) = follow(&pool, seed).await {
            panic!("history {seed}: {wrong}");
        }
    }
}

/// What a projector might do wrong, as it would show in its tables.
const PLANTED: [(&str, &str); 3] = [
    (
        "rows are applied and the offset stays",
        "CREATE FUNCTION planted() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
            IF RANDOM() < 0.15 THEN NEW.next_offset := OLD.next_offset; END IF; RETURN NEW; END $$;
         CREATE TRIGGER planted BEFORE UPDATE ON read.projection_offset FOR EACH ROW EXECUTE FUNCTION planted()",
    ),
    (
        "the offset moves without the rows",
        "CREATE FUNCTION planted() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
            IF RANDOM() < 0.15 THEN RETURN NULL; END IF; RETURN NEW; END $$;
         CREATE TRIGGER planted BEFORE INSERT ON read.audit FOR EACH ROW EXECUTE FUNCTION planted()",
    ),
    (
        "an offset is written without looking at where it stands",
        "CREATE FUNCTION planted() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.model = 'lots' AND RANDOM() < 0.3 THEN
                UPDATE read.projection_offset SET next_offset = GREATEST(NEW.next_offset - 3, 0)
                WHERE tenant = NEW.tenant AND topic = NEW.topic AND partition = NEW.partition AND model = 'genealogy';
            END IF; RETURN NULL; END $$;
         CREATE TRIGGER planted AFTER UPDATE ON read.projection_offset FOR EACH ROW EXECUTE FUNCTION planted()",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_planted_bug_of_a_projector_is_found() {
    for (number, (name, sql)) in PLANTED.into_iter().enumerate() {
        let pool = read_models(&format!("planted{number}")).await;
        sqlx::raw_sql(sql).execute(&pool).await.expect("the bug can be planted");
        let mut found = None;
        for seed in 0..WITHIN {
            if let Err(wrong) = follow(&pool, seed).await {
                found = Some((seed, wrong));
                break;
            }
        }
        let (seed, wrong) = found.unwrap_or_else(|| panic!("'{name}' is not found within {WITHIN} histories"));
        println!("'{name}' is found in history {seed}: {}", wrong.chars().take(200).collect::<String>());
    }
}
