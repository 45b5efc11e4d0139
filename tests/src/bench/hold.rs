//! `hold.*`, `site.bytes_per_lot`: a site's state with many lots and two thousand open holds, in memory as its writer has it. What it costs to decide a
//! command that takes parents, beside one look-up in a map of lots; to place a hold on a hot ingredient; and what a lot takes of memory.

use std::collections::{BTreeMap, HashSet};
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use lotline_domain::command::{Command, CommandRequest, ParentInput, QuantityInput, RegisterLot};
use lotline_domain::event::Event;
use lotline_domain::hold::event::{HoldCause, HoldEvent, HoldPlaced};
use lotline_domain::id::{ActorId, CommandId, CorrelationId, HoldId, LotId, SiteId, StreamKey, TenantId};
use lotline_domain::lot::{LotInput, LotRef, LotRegistered, LotType};
use lotline_domain::quantity::{Quantity, Unit};
use lotline_domain::state::StreamState;
use lotline_domain::timestamp::Timestamp;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::report::Report;
use crate::genealogy::Shape;

const SEED: u64 = 20_261_122;
const HOLDS: u32 = 2_000;
const COMMANDS: usize = 20_000;
const PARENTS: usize = 5;

/// Runs the figures that the report wants, on so many lots.
///
/// # Errors
/// When the state is not what the rules ask for.
pub fn run(report: &mut Report, lots: u32) -> anyhow::Result<()> {
    if !report.wants("hold.") && !report.wants("site.bytes_per_lot") {
        return Ok(());
    }
    let shape = Shape::new(lots, SEED);
    let now = Timestamp::parse("2026-11-22T03:15:00Z").context("a time")?;
    let before = resident()?;
    let (mut state, edges) = site(&shape, now)?;
    let bytes = (resident()? - before) as f64 / f64::from(shape.lots());
    report.note(&format!("hold: {} lots, {edges} edges, {HOLDS} holds on typical raw lots", shape.lots()));
    report.result("site.bytes_per_lot", bytes, "bytes", None);
    let mut random = SmallRng::seed_from_u64(SEED);
    let mut sequence = u64::from(shape.lots());
    for _ in 0..HOLDS {
        sequence += 1;
        place(&mut state, &shape, shape.typical(&mut random), sequence, now);
    }
    let hot = shape.hot().next().context("a hot lot")?;
    let begun = Instant::now();
    place(&mut state, &shape, hot, sequence + 1, now);
    let placed = begun.elapsed();
    checks(report, &state, &shape, now, &mut random)?;
    report.result("hold.place_hot_ms", placed.as_secs_f64() * 1e3, "ms", None);
    Ok(())
}

/// Bytes of this process that are in memory.
fn resident() -> anyhow::Result<i64> {
    let status = std::fs::read_to_string("/proc/self/statm")?;
    let pages: i64 = status.split_whitespace().nth(1).context("resident pages")?.parse()?;
    Ok(pages * 4_096)
}

fn site(shape: &Shape, now: Timestamp) -> anyhow::Result<(StreamState, usize)> {
    let mut state = StreamState::default();
    let mut edges = 0;
    for lot in 0..shape.lots() {
        let mut parents = Vec::new();
        for edge in shape.parents(lot) {
            let quantity = Quantity::new(Decimal::from(edge.grams), Unit::Grm)?;
            parents.push(LotInput { lot_id: LotId(shape.id(edge.parent)), quantity });
        }
        edges += parents.len();
        let registered = LotRegistered {
            lot_id: LotId(shape.id(lot)),
            code: format!("L-20261122-{lot:07}"),
            lot_type: LotType::Intermediate,
            product: format!("product {}", lot % 50),
            quantity: Quantity::new(Decimal::from(100_000), Unit::Kgm)?,
            temperature_c: None,
            supplier_lot: None,
            expires_on: None,
            location: None,
            attributes: BTreeMap::new(),
            parents,
        };
        state.evolve(&Event::LotRegistered(registered), u64::from(lot) + 1, now);
    }
    Ok((state, edges))
}

fn place(state: &mut StreamState, shape: &Shape, lot: u32, sequence: u64, now: Timestamp) {
    let placed = HoldPlaced {
        hold_id: HoldId(Uuid::from_u128(u128::from(sequence))),
        code: format!("H-{sequence}"),
        cause: HoldCause::Person,
        decision_id: None,
        rule: None,
        lots: vec![LotId(shape.id(lot))],
    };
    state.evolve(&Event::Hold(HoldEvent::HoldPlaced(placed)), sequence, now);
}

/// Commands that take some lots of any kind: most are refused for a lot on hold where many are, and the sentence with the root counts too.
fn checks(
    report: &mut Report,
    state: &StreamState,
    shape: &Shape,
    now: Timestamp,
    random: &mut SmallRng,
) -> anyhow::Result<()> {
    let mut times: Histogram<u64> = Histogram::new(3)?;
    let (mut accepted, mut look_up) = (0_u32, Duration::ZERO);
    for number in 0..COMMANDS {
        let lots: HashSet<u32> = (0..PARENTS).map(|_| random.random_range(0..shape.lots())).collect();
        let request = mix(shape, &lots, number)?;
        let ids: Vec<LotId> = lots.iter().map(|lot| LotId(shape.id(*lot))).collect();
        let begun = Instant::now();
        black_box(ids.iter().filter(|id| state.lots.get(**id).is_some()).count());
        look_up += begun.elapsed();
        let begun = Instant::now();
        let decided = black_box(state.decide(&request, now));
        times.record(begun.elapsed().as_nanos() as u64)?;
        match decided {
            Ok(_) => accepted += 1,
            Err(refusal) if refusal.code() == "LOT_ON_HOLD" => {}
            Err(refusal) => bail!("refused with {}: {refusal}", refusal.code()),
        }
    }
    let p99 = times.value_at_quantile(0.99) as f64 / 1e6;
    let bare = look_up.as_secs_f64() * 1e3 / COMMANDS as f64;
    report.note(&format!("hold: {accepted} of {COMMANDS} commands with {PARENTS} parents were accepted"));
    report.result("hold.check_p99_ms", p99, "ms", Some(p99 / bare));
    Ok(())
}

fn mix(shape: &Shape, lots: &HashSet<u32>, number: usize) -> anyhow::Result<CommandRequest> {
    let kilogram = |value: &str| QuantityInput { value: value.to_owned(), unit: "KGM".to_owned() };
    let parent = |lot: &u32| ParentInput { lot: LotRef::Id(LotId(shape.id(*lot))), quantity: kilogram("1") };
    let id = Uuid::from_u128((7 << 76) | (2 << 62) | number as u128);
    Ok(CommandRequest {
        tenant: TenantId::new("dairy")?,
        stream: StreamKey::Site(SiteId::new("north")?),
        actor: ActorId::new("bench")?,
        command_id: CommandId(id),
        correlation_id: CorrelationId(id),
        traceparent: None,
        expected_version: None,
        occurred_at: None,
        reason: None,
        command: Command::RegisterLot(RegisterLot {
            code: format!("MIX-{number}"),
            lot_type: LotType::Intermediate,
            product: "mix".to_owned(),
            quantity: kilogram("5"),
            temperature_c: None,
            supplier_lot: None,
            expires_on: None,
            location: None,
            attributes: BTreeMap::new(),
            parents: lots.iter().map(parent).collect(),
        }),
    })
}
