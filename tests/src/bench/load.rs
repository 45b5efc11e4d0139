//! A plant under load: mixed commands whose events are about 1 KB each, decided by the in-process command bus.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use lotline_commands::bus::{CommandBus, SubmitError};
use lotline_domain::command::{Command, CommandRequest, ParentInput, QuantityInput, RecordQcDecision, RegisterLot};
use lotline_domain::id::{ActorId, CommandId, CorrelationId, SiteId, StreamKey, TenantId};
use lotline_domain::lot::{LotRef, LotType};
use lotline_domain::port::{Clock, Ids};
use lotline_domain::qc::{ChecklistAnswer, QcOutcome};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Commands are under way in no order; a lot this far back has been decided. A multiple of ten, more than any load keeps under way.
const SETTLED: u64 = 5_000;
/// The same of commands that are submitted one after another.
const SETTLED_IN_TURN: u64 = 10;

/// Makes commands. Of ten, once there are lots to refer to: five raw lots, three lots made from one of those, two decisions.
pub struct Commands {
    tenant: TenantId,
    actor: ActorId,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    filler: String,
    settled: u64,
    count: u64,
}

impl Commands {
    /// Commands for one site, in the order in which they must be submitted.
    pub fn new(tenant: TenantId, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        let actor = ActorId::new("bench").expect("the name follows the rule");
        Self { tenant, actor, clock, ids, filler: "0123456789".repeat(61), settled: SETTLED, count: 0 }
    }

    /// The same with a filler of another length.
    #[must_use]
    pub fn filled(mut self, length: usize) -> Self {
        self.filler = "x".repeat(length.max(1));
        self
    }

    /// The same for who submits each when the one before has been answered: nearly all of them are mixed.
    #[must_use]
    pub fn in_turn(mut self) -> Self {
        self.settled = SETTLED_IN_TURN;
        self
    }

    /// Commands made so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The next command for a site.
    pub fn next(&mut self, site: &SiteId) -> CommandRequest {
        let number = self.count;
        self.count += 1;
        let settled = number.checked_sub(self.settled);
        let command = match (number % 10, settled) {
            (0..=4, _) | (_, None) => self.register(number, None),
            (5..=7, Some(settled)) => self.register(number, Some(settled - 5)),
            (_, Some(settled)) => self.decide(settled - 8),
        };
        let now = self.clock.now();
        CommandRequest {
            tenant: self.tenant.clone(),
            stream: StreamKey::Site(site.clone()),
            actor: self.actor.clone(),
            command_id: CommandId(self.ids.uuid_v7(now)),
            correlation_id: CorrelationId(self.ids.uuid_v7(now)),
            traceparent: None,
            expected_version: None,
            occurred_at: None,
            reason: None,
            command,
        }
    }

    fn register(&self, number: u64, parent: Option<u64>) -> Command {
        let quantity = |value: &str| QuantityInput { value: value.into(), unit: "KGM".into() };
        let parents = parent.map(|parent| ParentInput { lot: LotRef::Code(code(parent)), quantity: quantity("1.5") });
        Command::RegisterLot(RegisterLot {
            code: code(number),
            lot_type: if parent.is_some() { LotType::Intermediate } else { LotType::Raw },
            product: "Whole milk".into(),
            quantity: quantity("1000.000"),
            temperature_c: Some("4.2".into()),
            supplier_lot: Some("S-2026-11-21".into()),
            expires_on: None,
            location: Some("Silo 3".into()),
            attributes: BTreeMap::from([("filler".into(), self.filler.clone())]),
            parents: parents.into_iter().collect(),
        })
    }

    fn decide(&self, number: u64) -> Command {
        Command::RecordQcDecision(RecordQcDecision {
            lot: LotRef::Code(code(number)),
            gate: "intake".into(),
            outcome: QcOutcome::Pass,
            measurements: Vec::new(),
            checklist: vec![ChecklistAnswer { item: "smell, colour, temperature".into(), answer: self.filler.clone() }],
            notes: None,
        })
    }
}

fn code(number: u64) -> String {
    format!("L-{number:012}")
}

/// What a load gave.
pub struct Outcome {
    /// Decided and acknowledged events a second.
    pub eps: f64,
    /// Time from submission to answer.
    pub latency: Histogram<u64>,
}

/// Submits one command after another and measures each.
///
/// # Errors
/// The first command that is not accepted.
pub async fn sequential(
    bus: &CommandBus,
    commands: &mut Commands,
    site: &SiteId,
    count: u32,
) -> anyhow::Result<Histogram<u64>> {
    let mut latency = Histogram::new(3)?;
    for _ in 0..count {
        let request = commands.next(site);
        let started = Instant::now();
        bus.submit(request).await?;
        latency.record(started.elapsed().as_micros() as u64)?;
    }
    Ok(latency)
}

/// Submits commands one after another, each when it is due at so many a second, and measures from when it was due: a command that has to
/// wait because another is late counts as late.
///
/// # Errors
/// The first command that is not accepted.
pub async fn paced(
    bus: &CommandBus,
    commands: &mut Commands,
    site: &SiteId,
    rate: u32,
    count: u32,
) -> anyhow::Result<Histogram<u64>> {
    let mut latency = Histogram::new(3)?;
    let started = Instant::now();
    for nth in 0..count {
        let due = started + Duration::from_secs(1) * nth / rate;
        tokio::time::sleep_until(due.into()).await;
        bus.submit(commands.next(site)).await?;
        latency.record(due.elapsed().as_micros() as u64)?;
    }
    Ok(latency)
}

/// Keeps `in_flight` commands under way over all sites for a time.
///
/// # Errors
/// A command that is refused: the load is made so that none is.
pub async fn saturate(
    bus: &CommandBus,
    makers: &mut [(SiteId, Commands)],
    in_flight: usize,
    length: Duration,
) -> anyhow::Result<Outcome> {
    let limit = Arc::new(Semaphore::new(in_flight));
    let mut running: JoinSet<anyhow::Result<u64>> = JoinSet::new();
    let mut latency = Histogram::new(3)?;
    let mut done = 0_u64;
    let started = Instant::now();
    let mut turn = 0;
    while started.elapsed() < length {
        let permit = Arc::clone(&limit).acquire_owned().await?;
        let index = turn % makers.len();
        turn += 1;
        let (site, commands) = &mut makers[index];
        let request = commands.next(site);
        let bus = bus.clone();
        let submitted = Instant::now();
        running.spawn(async move {
            match bus.submit(request).await {
                Ok(_) => {}
                Err(SubmitError::Busy { .. }) => anyhow::bail!("the queue is shorter than the load"),
                Err(error) => return Err(error.into()),
            }
            drop(permit);
            Ok(submitted.elapsed().as_micros() as u64)
        });
        while let Some(ended) = running.try_join_next() {
            latency.record(ended??)?;
            done += 1;
        }
    }
    while let Some(ended) = running.join_next().await {
        latency.record(ended??)?;
        done += 1;
    }
    Ok(Outcome { eps: done as f64 / started.elapsed().as_secs_f64(), latency })
}
