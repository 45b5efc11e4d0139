//! Operators at work while something breaks, and what must hold afterwards: each command stands in the log exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lotline_tests::client::{Client, decision, lot};
use lotline_tests::operations::operation;
use lotline_tests::server::Server;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::site::Plant;
use crate::verdicts::{Told, assert_as_told, made_by};

/// In every partition of four there are some.
pub(crate) const SITES: [&str; 8] = ["north", "south", "east", "west", "hill", "lake", "vale", "moor"];
/// How long anything may take that must happen, on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// A node that stands still does not answer at all: a tablet then asks again, or another one.
const ONE_ANSWER: Duration = Duration::from_secs(5);

/// Draws what a test leaves to chance, by a seed that it prints; `FAULTS_SEED` sets it.
pub(crate) fn chance(test: &str) -> (u64, SmallRng) {
    let given = std::env::var("FAULTS_SEED").ok().map(|seed| seed.parse().expect("FAULTS_SEED is a number"));
    let seed = given.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    eprintln!("{test}: FAULTS_SEED={seed}");
    (seed, SmallRng::seed_from_u64(seed))
}

/// A pause of a length left to chance.
pub(crate) async fn pause(chance: &mut SmallRng, least_ms: u64, most_ms: u64) {
    let pause = chance.random_range(least_ms..=most_ms);
    tokio::time::sleep(Duration::from_millis(pause)).await;
}

/// Operators at all sites.
pub(crate) struct Load {
    operators: JoinSet<Vec<Told>>,
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
}

impl Load {
    /// Starts one operator a site, who asks the servers in turn.
    pub(crate) fn start(seed: u64, servers: &[&Server]) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut operators = JoinSet::new();
        for (number, site) in SITES.into_iter().enumerate() {
            let actor = format!("operator-{number}");
            let operator = Operator {
                clients: servers.iter().map(|server| Client::new(&server.url, &actor)).collect(),
                chance: SmallRng::seed_from_u64(seed + number as u64),
                turn: number,
                lots: 0,
                actor,
                site,
            };
            operators.spawn(operator.work(Arc::clone(&stop), Arc::clone(&answers)));
        }
        Self { operators, stop, answers }
    }

    /// Waits until so many more commands have been answered, and gives how long that took.
    pub(crate) async fn goes_on(&self, more: usize) -> Duration {
        let (began, wanted) = (Instant::now(), self.answers.load(Ordering::Relaxed) + more);
        while self.answers.load(Ordering::Relaxed) < wanted {
            assert!(began.elapsed() < PATIENCE, "commands are not answered any more");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    }

    /// Waits until no command has been answered for so long.
    pub(crate) async fn stands_still(&self, length: Duration) {
        let (began, mut last) = (Instant::now(), (self.answers.load(Ordering::Relaxed), Instant::now()));
        while last.1.elapsed() < length {
            assert!(began.elapsed() < PATIENCE, "commands are answered still");
            tokio::time::sleep(Duration::from_millis(20)).await;
            let answers = self.answers.load(Ordering::Relaxed);
            if answers != last.0 {
                last = (answers, Instant::now());
            }
        }
    }

    /// Lets everybody finish and gives what they were told.
    pub(crate) async fn end(self) -> Vec<Told> {
        self.stop.store(true, Ordering::Relaxed);
        self.operators.join_all().await.into_iter().flatten().collect()
    }
}

struct Operator {
    actor: String,
    site: &'static str,
    clients: Vec<Client>,
    chance: SmallRng,
    turn: usize,
    lots: u32,
}

impl Operator {
    async fn work(mut self, stop: Arc<AtomicBool>, answers: Arc<AtomicUsize>) -> Vec<Told> {
        let mut told = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let (name, input) = self.step();
            told.push(self.insist(name, &input).await);
            answers.fetch_add(1, Ordering::Relaxed);
        }
        told
    }

    /// Registers lots, mixes and judges them. Some of it is refused, which is a fact as well.
    fn step(&mut self) -> (&'static str, Value) {
        if self.lots == 0 || self.chance.random_bool(0.5) {
            self.lots += 1;
            return ("registerLot", lot(self.site, &self.code(self.lots), "100", &[]));
        }
        let known = self.chance.random_range(1..=self.lots);
        let known = self.code(known);
        match self.chance.random_range(0..6) {
            0 => ("registerLot", lot(self.site, &known, "1", &[])),
            1 => ("recordQcDecision", decision(self.site, &known, "PASS")),
            2 => ("recordQcDecision", decision(self.site, &known, "HOLD")),
            3 => ("scrapLot", self.about("scrapLot", &known)),
            4 => ("splitLot", self.about("splitLot", &known)),
            _ => {
                self.lots += 1;
                ("registerLot", lot(self.site, &self.code(self.lots), "10", &[(&known, "10.25")]))
            }
        }
    }

    fn about(&self, field: &str, lot: &str) -> Value {
        operation(field, self.site, &[json!({ "code": lot })]).expect("an operation on a lot")
    }

    fn code(&self, number: u32) -> String {
        format!("{}-{number}", self.site)
    }

    /// Sends a command with the same key until somebody says what became of it.
    async fn insist(&mut self, name: &str, input: &Value) -> Told {
        let (until, mut last) = (Instant::now() + PATIENCE, String::new());
        loop {
            self.turn += 1;
            let asked = self.clients[self.turn % self.clients.len()].try_mutate(name, made_by(name), input);
            match tokio::time::timeout(ONE_ANSWER, asked).await {
                Ok(Ok(payload)) if payload.get("errors").is_none() => {
                    return Told::by(&self.actor, name, input, &payload);
                }
                Ok(Ok(payload)) => last = payload.to_string(),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => {}
            }
            assert!(Instant::now() < until, "{} got no answer to {name} within {PATIENCE:?}: {last}", self.actor);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

/// Waits until every site takes a command at this node, and gives how long that took.
pub(crate) async fn every_site_answers(server: &Server, mark: &str) -> Duration {
    let began = Instant::now();
    let mut asking = JoinSet::new();
    for site in SITES {
        let client = Client::new(&server.url, "judge");
        let input = lot(site, &format!("{mark}-{site}"), "10", &[]);
        asking.spawn(async move {
            loop {
                let answer = client.try_mutate("registerLot", "", &input).await;
                if let Ok(payload) = &answer
                    && payload.get("errors").is_none()
                {
                    assert_eq!(payload["userErrors"], json!([]));
                    return;
                }
                assert!(began.elapsed() < PATIENCE, "{site} is not taken over: {answer:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }
    asking.join_all().await;
    began.elapsed()
}

/// Each command that was answered stands in the log exactly once and as it was answered.
pub(crate) async fn assert_each_once(plant: &Plant, told: &[Told]) {
    assert_as_told(plant.ledger().await.as_ref(), told).await;
    assert!(told.len() > SITES.len() * 3, "the load was real: {} answers", told.len());
}
