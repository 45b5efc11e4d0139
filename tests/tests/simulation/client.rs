//! Those who use the nodes: they ask, wait, give up, ask another node under the same key, and write down all that they are told.

use std::sync::Arc;

use lotline_commands::bus::{Receipt, SubmitError};
use lotline_domain::port::LogRead;
use lotline_domain::position::{Position, TopicKind};
use lotline_domain::record::Offset;
use lotline_domain::state::Subject;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::ask::{Amount, Ask, Graph, Holding, LotName, Transform, What};
use crate::dock::{self, Dock};
use crate::model::{Stream, alerts};
use crate::process::Process;
use crate::world::World;

/// What a client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Accepted { subject: String, version: u64, next: Offset },
    Refused { code: String, message: String, next: Offset },
}

/// Everything that was asked and told, in order.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) asks: Vec<Ask>,
    /// Which ask, and the answer to one of its tries.
    pub(crate) told: Vec<(usize, Answer)>,
    /// What somebody was told to exist: stream, code and id of lots.
    lots: Vec<(String, String, Uuid)>,
    pipelines: Vec<Uuid>,
    scenarios: Vec<Uuid>,
    /// Site, run and the last decision that somebody was told of.
    decisions: Vec<(String, String, Uuid)>,
    /// Site and decision, of lots and runs.
    judged: Vec<(String, Uuid)>,
}

/// What became of one try.
enum Tried {
    Answered,
    /// Nothing was told, or that this is not the time.
    Again,
}

/// Asks one command after the other, each until it has an answer.
///
/// # Errors
/// An answer that was given before its events were in the log.
pub(crate) async fn run(world: Arc<World>, number: usize) -> Result<(), String> {
    let actor = format!("client-{}", number % 3);
    let mut others = JoinSet::new();
    for _ in 0..world.plan.commands {
        sleep(world.chance.millis(0, 1_500)).await;
        let ask = draw(&world, &actor);
        let index = write_down(&world, ask.clone());
        if world.chance.odds(0.08) {
            others.spawn(until_answered(Arc::clone(&world), index));
        }
        if world.chance.odds(0.02) {
            // A client with a bug: the same key for something else.
            let what = draw(&world, &actor).what;
            let index = write_down(&world, Ask { what, ..ask });
            others.spawn(until_answered(Arc::clone(&world), index));
        }
        until_answered(Arc::clone(&world), index).await?;
        if world.chance.odds(0.1) {
            let late = Arc::clone(&world);
            others.spawn(async move {
                sleep(late.chance.millis(0, 10_000)).await;
                until_answered(late, index).await
            });
        }
    }
    while let Some(ended) = others.join_next().await {
        ended.map_err(|error| format!("a client failed: {error}"))??;
    }
    Ok(())
}

fn write_down(world: &World, ask: Ask) -> usize {
    let mut book = world.book();
    book.asks.push(ask);
    book.asks.len() - 1
}

/// Tries until there is an answer, at one node after the other. Tries that were given up go on and may still be answered.
async fn until_answered(world: Arc<World>, index: usize) -> Result<(), String> {
    let mut given_up: Vec<JoinHandle<Result<Tried, String>>> = Vec::new();
    let mut slot = world.chance.below(world.plan.nodes);
    loop {
        let mut trying = tokio::spawn(try_at(Arc::clone(&world), slot, index));
        let patience = world.chance.millis(1_000, 20_000);
        if let Ok(tried) = timeout(patience, &mut trying).await {
            if matches!(tried.map_err(|error| format!("a try failed: {error}"))??, Tried::Answered) {
                break;
            }
        } else {
            given_up.push(trying);
        }
        world.tally(|tally| tally.retries += 1);
        sleep(world.chance.millis(20, 1_000)).await;
        slot = world.chance.below(world.plan.nodes);
    }
    for late in given_up {
        late.await.map_err(|error| format!("a try failed: {error}"))??;
    }
    Ok(())
}

async fn try_at(world: Arc<World>, slot: usize, index: usize) -> Result<Tried, String> {
    world.lag().await;
    let request = world.book().asks[index].request(&world.plan.tenant);
    let Some(node) = world.node(slot) else { return Ok(Tried::Again) };
    node.host.gate.pass().await;
    let answered = tokio::select! {
        biased;
        () = node.dead.cancelled() => return Ok(Tried::Again),
        answered = node.bus.submit(request) => answered,
    };
    let answer = match answered {
        Ok(receipt) => accepted(&world, index, receipt),
        Err(SubmitError::Refused { code, message, position, .. }) => {
            Answer::Refused { code, message, next: next_of(&world, index, &position)? }
        }
        Err(SubmitError::Busy { .. } | SubmitError::Unavailable) => return Ok(Tried::Again),
        Err(SubmitError::UnknownStream(stream)) => return Err(format!("there is no stream '{stream}'")),
    };
    let (Answer::Accepted { next, .. } | Answer::Refused { next, .. }) = &answer;
    let partition = world.plan.partition(&world.book().asks[index].stream);
    let end = world.log.end(partition).await.map_err(|error| error.to_string())?;
    if end < *next {
        return Err(format!("told {answer:?} of partition {partition} while its log ended at {end}"));
    }
    node.host.gate.pass().await;
    world.lag().await;
    if world.hiccup(0.1) || node.dead.is_cancelled() {
        // The answer is lost on its way, but what it says was promised: it is held against the log all the same.
        world.book().told.push((index, answer));
        return Ok(Tried::Again);
    }
    learn(&world, index, &answer);
    world.book().told.push((index, answer));
    Ok(Tried::Answered)
}

fn accepted(world: &World, index: usize, receipt: Receipt) -> Answer {
    let subject = match receipt.subject {
        Subject::Lot(id) => id.to_string(),
        Subject::Transformation(id) => id.to_string(),
        Subject::QcDecision(id) => id.to_string(),
        Subject::Pipeline(id) => id.to_string(),
        Subject::Product(id) => id.to_string(),
        Subject::Partner(id) => id.to_string(),
        Subject::Scenario(id) => id.to_string(),
        Subject::Run(id) => id.to_string(),
        Subject::Alert(id) => id.to_string(),
        Subject::Delivery(id) => id.to_string(),
        Subject::Shipment(id) => id.to_string(),
        Subject::Hold(id) => id.to_string(),
        Subject::Signal(name) | Subject::Projection(name) | Subject::Trail(name) => name,
        Subject::Access(subject) => subject.to_string(),
    };
    if receipt.replayed {
        world.tally(|tally| tally.replayed += 1);
    }
    let next = next_of(world, index, &receipt.position).unwrap_or(Offset::MAX);
    Answer::Accepted { subject, version: receipt.version, next }
}

fn next_of(world: &World, index: usize, position: &Position) -> Result<Offset, String> {
    let partition = world.plan.partition(&world.book().asks[index].stream);
    position.get(TopicKind::Ledger, partition).ok_or_else(|| format!("{position} does not name partition {partition}"))
}

/// What one is told can be asked about.
fn learn(world: &World, index: usize, answer: &Answer) {
    let subject = match answer {
        Answer::Accepted { subject, .. } => subject,
        Answer::Refused { code, .. } => {
            return world.tally(|tally| *tally.codes.entry(code.clone()).or_default() += 1);
        }
    };
    world.tally(|tally| tally.accepted += 1);
    let mut book = world.book();
    let ask = book.asks[index].clone();
    match (&ask.what, subject.parse()) {
        (What::Register { code, .. }, Ok(id)) => book.lots.push((ask.stream, code.clone(), id)),
        (What::Draft { .. }, Ok(id)) => book.pipelines.push(id),
        (What::Dock(Dock::Receive { code, .. }), _) => {
            book.lots.push((ask.stream, code.clone(), Uuid::nil()));
            world.tally(|tally| tally.received += 1);
        }
        (What::Dock(Dock::Ship { .. }), _) => world.tally(|tally| tally.shipped += 1),
        // Of what came out one knows the codes.
        (What::Transform(asked), _) => {
            book.lots.extend(asked.outputs.iter().map(|(code, _)| (ask.stream.clone(), code.clone(), Uuid::nil())));
            world.tally(|tally| tally.transformed += 1);
        }
        (What::Judge { .. }, Ok(id)) => book.judged.push((ask.stream, id)),
        (What::Process(Process::Draft { .. }), Ok(id)) => book.scenarios.push(id),
        (What::Process(Process::Decide { run, .. }), Ok(id)) => {
            book.judged.push((ask.stream.clone(), id));
            book.decisions.push((ask.stream, run.clone(), id));
        }
        _ => {}
    }
}

/// Makes known what an ask that was accepted has made.
pub(crate) fn know(world: &World, ask: &Ask, stream: &Stream, subject: &Subject) {
    if let Subject::QcDecision(id) = subject {
        world.book().judged.push((ask.stream.clone(), id.0));
    }
    let codes: Vec<&String> = match &ask.what {
        What::Register { code, .. } | What::Dock(Dock::Receive { code, .. }) => vec![code],
        What::Transform(asked) => asked.outputs.iter().map(|(code, _)| code).collect(),
        _ => Vec::new(),
    };
    let known = codes.into_iter().filter_map(|code| Some((ask.stream.clone(), code.clone(), stream.id_of(code)?)));
    world.book().lots.extend(known);
}

const AMOUNTS: [Amount; 8] = [
    Amount { value: "100", unit: "KGM" },
    Amount { value: "0.5", unit: "TNE" },
    Amount { value: "40", unit: "KGM" },
    Amount { value: "2500.5", unit: "GRM" },
    Amount { value: "30", unit: "LBR" },
    Amount { value: "12", unit: "LTR" },
    Amount { value: "60", unit: "KGM" },
    Amount { value: "7", unit: "C62" },
];
const BAD_AMOUNTS: [Amount; 5] = [
    Amount { value: "0", unit: "KGM" },
    Amount { value: "-1", unit: "KGM" },
    Amount { value: "ten", unit: "KGM" },
    Amount { value: "1.0000001", unit: "KGM" },
    Amount { value: "1", unit: "STN" },
];

pub(crate) fn draw(world: &World, actor: &str) -> Ask {
    let chance = &world.chance;
    let tenants = chance.odds(0.25);
    let stream = if tenants { "_tenant".to_owned() } else { (*chance.pick(&world.plan.sites)).to_owned() };
    let defines = tenants && world.plan.operations && chance.odds(0.2);
    let what = match (tenants, chance.odds(0.4)) {
        _ if defines => What::Dock(dock::draw_definition(world)),
        (true, false) => draw_pipeline(world),
        (false, false) => draw_site(world, &stream),
        (true, true) => What::Process(draw_scenario(world)),
        (false, true) => What::Process(draw_run(world, &stream)),
    };
    // Now and then it goes to the wrong place.
    let stream = if chance.odds(0.01) { "_tenant".to_owned() } else { stream };
    let now = world.clocks[0].right();
    let millis = match chance.between(0, 199) {
        0 => now.millis() - 8 * 24 * 3_600 * 1_000,
        1 => now.millis() + 10 * 60 * 1_000,
        _ => now.millis(),
    };
    let version = if chance.odds(0.005) { 4 } else { 7 };
    let rest = chance.bits() & !(0xf << 76) & !(0x3 << 62) & ((1 << 80) - 1);
    let id = Uuid::from_u128((u128::from(millis.unsigned_abs()) << 80) | (version << 76) | (0x2 << 62) | rest);
    let occurred_at = match chance.between(0, 99) {
        0 => Some(now.plus_micros(30 * 24 * 3_600 * 1_000_000).micros()),
        1 => Some(0),
        2..10 => Some(now.plus_micros(-1_000_000).micros()),
        _ => None,
    };
    let expected = chance.odds(0.1).then(|| chance.between(0, 12));
    Ask { stream, actor: actor.to_owned(), id, expected, occurred_at, what }
}

pub(crate) fn draw_amount(world: &World) -> Amount {
    if world.chance.odds(0.03) { world.chance.pick(&BAD_AMOUNTS).clone() } else { world.chance.pick(&AMOUNTS).clone() }
}

pub(crate) fn draw_lot(world: &World, stream: &str) -> LotName {
    let known: Vec<(String, Uuid)> = {
        let book = world.book();
        book.lots.iter().filter(|(site, ..)| site == stream).map(|(_, code, id)| (code.clone(), *id)).collect()
    };
    if known.is_empty() || world.chance.odds(0.15) {
        return LotName::Code(format!("L{}", world.chance.below(14)));
    }
    let (code, id) = world.chance.pick(&known);
    if world.chance.odds(0.3) && !id.is_nil() { LotName::Id(*id) } else { LotName::Code(code.clone()) }
}

/// Amounts that now and then add up.
const PORTIONS: [Amount; 5] = [
    Amount { value: "20", unit: "KGM" },
    Amount { value: "10", unit: "KGM" },
    Amount { value: "10000", unit: "GRM" },
    Amount { value: "0.000001", unit: "LBR" },
    Amount { value: "3", unit: "LTR" },
];

const TENS: [Amount; 3] = [
    Amount { value: "10", unit: "KGM" },
    Amount { value: "0.02", unit: "TNE" },
    Amount { value: "30000", unit: "GRM" },
];

pub(crate) fn draw_portion(world: &World) -> Amount {
    let chance = &world.chance;
    if chance.odds(0.7) { PORTIONS[chance.below(2)].clone() } else { chance.pick(&PORTIONS).clone() }
}

fn draw_holding(world: &World, stream: &str) -> Holding {
    let chance = &world.chance;
    let hold = || format!("H-{}", chance.between(1, 8));
    let lots = || (0..*chance.pick(&[1, 1, 1, 2, 2, 0])).map(|_| draw_lot(world, stream)).collect();
    match chance.between(0, 9) {
        0..=2 => Holding::Place { lots: lots() },
        3..=6 => Holding::Release { hold: hold() },
        _ => Holding::ReleaseLots { hold: hold(), lots: lots() },
    }
}

fn draw_operation(world: &World, stream: &str) -> What {
    let chance = &world.chance;
    if chance.odds(0.2) {
        return What::Hold(draw_holding(world, stream));
    }
    if chance.odds(0.4) {
        let how = *chance.pick(&["increase", "decrease", "scrap", "scrap", "sample", "move"]);
        let amount = (how != "move" && (how != "scrap" || chance.odds(0.5))).then(|| draw_amount(world));
        return What::Take { lot: draw_lot(world, stream), how, amount };
    }
    let kind = *chance.pick(&["split", "split", "merge", "transform", "transform", "rework"]);
    let code = || if chance.odds(0.02) { " ".to_owned() } else { format!("L{}", chance.below(40)) };
    let product = *chance.pick(&["milk", "cheese"]);
    if kind != "split" && chance.odds(0.6) {
        // Ten kilograms of each, and all of it comes out.
        let count = if kind == "merge" { 2 } else { 1 } + chance.below(2);
        let inputs = (0..count).map(|_| (draw_lot(world, stream), Some(PORTIONS[1].clone()))).collect();
        let outputs = vec![(code(), TENS[count - 1].clone())];
        return What::Transform(Transform { kind, inputs, outputs, product, loss: None });
    }
    let (inputs, outputs) = match kind {
        "split" => (1, *chance.pick(&[0, 1, 2, 2, 3, 3])),
        "merge" => (*chance.pick(&[1, 2, 2, 2, 3, 3]), 1),
        _ => (*chance.pick(&[0, 1, 1, 2, 2, 3]), *chance.pick(&[0, 1, 1, 1, 2, 2])),
    };
    let outputs: Vec<_> = (0..outputs).map(|_| (code(), draw_portion(world))).collect();
    let amount = || (kind != "split" && chance.odds(0.9)).then(|| draw_portion(world));
    let inputs: Vec<_> = (0..inputs).map(|_| (draw_lot(world, stream), amount())).collect();
    let loss = chance.odds(0.5).then(|| draw_portion(world));
    What::Transform(Transform { kind, inputs, outputs, product, loss })
}

pub(crate) fn draw_site(world: &World, stream: &str) -> What {
    let chance = &world.chance;
    if world.plan.operations && chance.odds(0.4) {
        return if chance.odds(0.25) { What::Dock(dock::draw(world, stream)) } else { draw_operation(world, stream) };
    }
    match chance.between(0, 9) {
        0..=5 => {
            let blank = chance.odds(0.02);
            let code = if blank { "  ".to_owned() } else { format!("L{}", chance.below(14)) };
            // The first lots of a site have no parents.
            let first = !world.book().lots.iter().any(|(site, ..)| site == stream);
            let count = if first { 0 } else { *chance.pick(&[0, 0, 1, 1, 2, 3]) };
            let parents = (0..count).map(|_| (draw_lot(world, stream), draw_amount(world))).collect();
            What::Register { code, amount: draw_amount(world), parents }
        }
        6..=8 => {
            let outcome = *chance.pick(&["PASS", "PASS", "HOLD", "HOLD", "FAIL"]);
            What::Judge { lot: draw_lot(world, stream), outcome }
        }
        _ if chance.odds(0.6) => What::SeeTo {
            alert: draw_alert(world, stream),
            how: if chance.odds(0.5) { "acknowledge" } else { "resolve" },
        },
        _ => What::Declare { name: format!("signal.{}", chance.below(6)) },
    }
}

/// The alert that a decision has raised, if it has raised one.
fn draw_alert(world: &World, stream: &str) -> Uuid {
    let told: Vec<Uuid> = {
        let book = world.book();
        book.judged.iter().filter(|(site, _)| site == stream).map(|(_, id)| *id).collect()
    };
    if told.is_empty() { Uuid::from_u128(world.chance.bits()) } else { alerts::of_decision(*world.chance.pick(&told)) }
}

fn draw_scenario(world: &World) -> Process {
    let chance = &world.chance;
    let (scenario, gated) = (draw_known_scenario(world), chance.odds(0.6));
    let name = format!("process {}", chance.below(4));
    match chance.between(0, 9) {
        0..=2 => Process::Draft { name, gated },
        3..=4 => Process::Revise { scenario, name, gated },
        5..=8 => Process::Publish { scenario },
        _ => Process::Retire { scenario },
    }
}

fn draw_known_scenario(world: &World) -> Uuid {
    let known = world.book().scenarios.clone();
    if known.is_empty() || world.chance.odds(0.03) {
        return Uuid::from_u128(world.chance.bits());
    }
    *world.chance.pick(&known)
}

fn draw_run(world: &World, stream: &str) -> Process {
    let chance = &world.chance;
    let run = format!("R{}", chance.below(4));
    match chance.between(0, 13) {
        0..=3 => Process::Start { scenario: draw_known_scenario(world), code: run },
        4..=6 => Process::Advance { run, from: *chance.pick(&[0, 0, 0, 5]) },
        7..=8 => {
            let told = |(site, code, _): &&(String, String, Uuid)| site == stream && *code == run;
            let last = world.book().decisions.iter().rfind(told).map(|(.., id)| *id);
            let replaces = last.filter(|_| !chance.odds(0.1));
            let outcome = *chance.pick(&["PASS", "PASS", "HOLD", "FAIL"]);
            Process::Decide { run, outcome, replaces }
        }
        9 => Process::Hold { run },
        10 => Process::Resume { run },
        11 => Process::Complete { run },
        12 => Process::Link { run, lot: draw_lot(world, stream) },
        _ => Process::Abort { run },
    }
}

fn draw_graph(world: &World) -> Graph {
    let chance = &world.chance;
    let tasks = match chance.between(0, 19) {
        0 => vec![],
        1 => vec!["read", "read"],
        2..10 => vec!["read"],
        _ => vec!["read", "clean", "write"],
    };
    let edges = match chance.between(0, 19) {
        0 => vec![("read", "write"), ("write", "read")],
        1 => vec![("read", "nowhere")],
        2..8 if tasks.len() == 3 => vec![("read", "clean"), ("clean", "write")],
        _ => vec![],
    };
    Graph { tasks, edges }
}

fn draw_pipeline(world: &World) -> What {
    let chance = &world.chance;
    let known = world.book().pipelines.clone();
    let strange = known.is_empty() || chance.odds(0.03);
    let pipeline = if strange { Uuid::from_u128(chance.bits()) } else { *chance.pick(&known) };
    let name = format!("pipeline {}", chance.below(6));
    match chance.between(0, 9) {
        0..=2 => What::Draft { name, graph: draw_graph(world) },
        3..=5 => What::Revise { pipeline, name, graph: draw_graph(world) },
        6..=8 => What::Publish { pipeline },
        _ => What::Archive { pipeline },
    }
}
