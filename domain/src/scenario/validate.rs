//! What a definition must be, from what was typed.
//!
//! Invariants: keys of streams and gates and numbers of phases are unique · phase 0 is there · a phase stands in a stream, a gate after a phase of the scenario ·
//! checklist items and limits are unique in their gate · a limit has a bound, in a known unit, and low is not above high.

use std::collections::HashSet;

use super::command::{AutomaticLotInput, DefinitionInput, GateInput, LimitInput, PhaseInput};
use super::refusal::ScenarioRefusal as Broken;
use super::{AutomaticLot, ChecklistItem, Definition, Gate, Limit, Phase, Stream};
use crate::command::{decimal, optional_text, text};
use crate::refusal::Refusal;

/// Most streams of one scenario.
pub const MAX_STREAMS: usize = 50;
/// Most phases of one scenario.
pub const MAX_PHASES: usize = 200;
/// Most gates of one scenario.
pub const MAX_GATES: usize = 200;
/// Most checklist items, and most limits, of one gate.
pub const MAX_ENTRIES: usize = 50;
/// Highest number of a phase, and highest sort order of a stream.
pub const MAX_NUMBER: u32 = 9_999;
/// Largest definition, in bytes of JSON. Each run keeps one in its first event, which must stay far below what a log takes.
pub const MAX_BYTES: usize = 256 << 10;

/// Units that limits can have (UCUM, case sensitive codes). To add one: a code here.
pub const UNITS: &[&str] = &[
    "1", "%", "[ppm]", "[ppb]", "[pH]", "Cel", "K", "[degF]", "s", "min", "h", "d", "Hz", "1/min", "mg", "g", "kg",
    "t", "[lb_av]", "mm", "cm", "m", "mL", "L", "hL", "m3", "g/L", "mg/L", "mg/kg", "g/kg", "kg/m3", "g/cm3", "mol/L",
    "L/min", "L/h", "m3/h", "kg/h", "m/s", "Pa", "kPa", "mbar", "bar", "[psi]", "N", "N.m", "mPa.s", "Pa.s", "A", "mA",
    "V", "W", "kW", "J", "kW.h", "S/m", "uS/cm", "mS/cm", "lx", "deg", "[CFU]", "[CFU]/g", "[CFU]/mL", "[NTU]",
    "[BRIX]", "[IU]", "[IU]/g",
];

impl DefinitionInput {
    /// Reads and checks it.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn parse(&self) -> Result<Definition, Refusal> {
        at_most("streams", self.streams.len(), MAX_STREAMS)?;
        at_most("phases", self.phases.len(), MAX_PHASES)?;
        at_most("gates", self.gates.len(), MAX_GATES)?;
        let streams = self.streams.iter().map(stream).collect::<Result<Vec<_>, _>>()?;
        let mut keys = HashSet::new();
        if let Some(twice) = streams.iter().find(|stream| !keys.insert(stream.key.as_str())) {
            return Err(Broken::DuplicateStream(twice.key.clone()).into());
        }
        let phases = self.phases.iter().map(|given| phase(given, &keys)).collect::<Result<Vec<_>, _>>()?;
        let mut numbers = HashSet::new();
        if let Some(twice) = phases.iter().find(|phase| !numbers.insert(phase.number)) {
            return Err(Broken::DuplicatePhase(twice.number).into());
        }
        if !numbers.contains(&0) {
            return Err(Broken::NoFirstPhase.into());
        }
        let gates = self.gates.iter().map(|given| gate(given, &numbers)).collect::<Result<Vec<_>, _>>()?;
        let mut keys = HashSet::new();
        if let Some(twice) = gates.iter().find(|gate| !keys.insert(gate.key.as_str())) {
            return Err(Broken::DuplicateGate(twice.key.clone()).into());
        }
        let definition = Definition { streams, phases, gates };
        let size =
            serde_json::to_vec(&definition).expect("invariant: a definition has string keys and finite numbers").len();
        if size > MAX_BYTES { Err(Broken::TooLarge { size, max: MAX_BYTES }.into()) } else { Ok(definition) }
    }
}

fn at_most(field: &'static str, given: usize, max: usize) -> Result<(), Refusal> {
    if given > max { Err(Refusal::TooMany { field, given, max }) } else { Ok(()) }
}

fn number(field: &'static str, given: u32) -> Result<u32, Refusal> {
    if given > MAX_NUMBER { Err(Refusal::InvalidNumber { field, rule: "from 0 to 9999" }) } else { Ok(given) }
}

fn stream(given: &Stream) -> Result<Stream, Refusal> {
    let key = text("streams", &given.key, 64)?;
    let colour = given.colour.trim().to_ascii_lowercase();
    let digits = colour.strip_prefix('#').unwrap_or_default();
    if digits.len() != 6 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(Broken::InvalidColour { stream: key }.into());
    }
    Ok(Stream {
        key,
        name: text("streams", &given.name, 128)?,
        colour,
        sort_order: number("streams", given.sort_order)?,
    })
}

fn phase(given: &PhaseInput, streams: &HashSet<&str>) -> Result<Phase, Refusal> {
    let (number, stream) = (number("phases", given.number)?, text("phases", &given.stream, 64)?);
    if !streams.contains(stream.as_str()) {
        return Err(Broken::UnknownStream { phase: number, stream }.into());
    }
    let registers = given.registers.as_ref().map(automatic_lot).transpose()?;
    Ok(Phase { number, name: text("phases", &given.name, 128)?, stream, registers })
}

fn automatic_lot(given: &AutomaticLotInput) -> Result<AutomaticLot, Refusal> {
    let product = text("phases", &given.product, 128)?;
    Ok(AutomaticLot { lot_type: given.lot_type, product, quantity: given.quantity.parse("phases")? })
}

fn gate(given: &GateInput, phases: &HashSet<u32>) -> Result<Gate, Refusal> {
    let key = text("gates", &given.key, 64)?;
    if !phases.contains(&given.after_phase) {
        return Err(Broken::UnknownPhase { gate: key, phase: given.after_phase }.into());
    }
    at_most("gates", given.checklist.len().max(given.limits.len()), MAX_ENTRIES)?;
    let mut items = HashSet::new();
    let mut checklist = Vec::with_capacity(given.checklist.len());
    for item in &given.checklist {
        let (item_key, question) = (text("gates", &item.key, 64)?, text("gates", &item.question, 200)?);
        if !items.insert(item_key.clone()) {
            return Err(Broken::DuplicateItem { gate: key, item: item_key }.into());
        }
        checklist.push(ChecklistItem { key: item_key, question, answer: item.answer, required: item.required });
    }
    let mut names = HashSet::new();
    let mut limits = Vec::with_capacity(given.limits.len());
    for entry in &given.limits {
        let entry = limit(&key, entry)?;
        if !names.insert(entry.name.clone()) {
            return Err(Broken::DuplicateLimit { gate: key, limit: entry.name }.into());
        }
        limits.push(entry);
    }
    Ok(Gate {
        after_phase: given.after_phase,
        gate_type: text("gates", &given.gate_type, 64)?,
        judges: given.judges,
        ccp: given.ccp,
        blocking: given.blocking,
        checklist,
        limits,
        key,
    })
}

fn limit(gate: &str, given: &LimitInput) -> Result<Limit, Refusal> {
    let (gate, name, unit) = (gate.to_owned(), text("gates", &given.name, 64)?, given.unit.trim());
    if !UNITS.contains(&unit) {
        let unit = unit.chars().take(32).collect();
        return Err(Broken::UnknownUnit { gate, limit: name, unit }.into());
    }
    let bound = |given: &String| {
        let rule = "with at most 28 digits, such as 72.4";
        decimal(given).ok_or(Refusal::InvalidNumber { field: "gates", rule })
    };
    let (low, high) = (given.low.as_ref().map(bound).transpose()?, given.high.as_ref().map(bound).transpose()?);
    match (low, high) {
        (None, None) => return Err(Broken::UnboundedLimit { gate, limit: name }.into()),
        (Some(low), Some(high)) if low > high => {
            return Err(Broken::LimitInverted { gate, limit: name, low, high }.into());
        }
        _ => {}
    }
    let signal = optional_text("gates", given.signal.as_deref(), 128)?;
    Ok(Limit { name, unit: unit.to_owned(), low, high, signal })
}
