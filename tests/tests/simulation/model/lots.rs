//! Operations on lots, written a second time.

use serde_json::Value;
use uuid::Uuid;

use super::{Lot, Stream, measure, same};
use crate::ask::{Amount, LotName, Transform};

impl Stream {
    pub(super) fn may_transform(&self, asked: &Transform) -> Option<&'static str> {
        self.judge(asked).err()
    }

    /// What is taken of which lots.
    fn judge(&self, asked: &Transform) -> Result<Vec<(Uuid, i128)>, &'static str> {
        let (inputs, outputs) = (asked.inputs.len(), asked.outputs.len());
        let wrong = match asked.kind {
            "split" => inputs != 1 || outputs == 0,
            "merge" => inputs < 2 || outputs != 1,
            _ => inputs == 0 || outputs == 0,
        };
        if wrong {
            return Err("WRONG_COUNT");
        }
        let mut made = Vec::new();
        for (_, amount) in &asked.outputs {
            made.push(measure(amount.value, amount.unit)?);
        }
        let loss = asked.loss.as_ref().map(|loss| measure(loss.value, loss.unit)).transpose()?;
        let mut taken: Vec<(&Lot, i128)> = Vec::new();
        for (name, amount) in &asked.inputs {
            let lot = self.lot(name).ok_or("UNKNOWN_LOT")?;
            if taken.iter().any(|(other, _)| other.id == lot.id) {
                return Err("DUPLICATE_PARENT");
            }
            let amount = amount_wanted(asked, lot, amount.as_ref(), &made, loss)?;
            if let Some(refused) = self.blocked(lot, asked.kind == "split") {
                return Err(refused);
            }
            taken.push((lot, amount_left(lot, amount)?));
        }
        for (index, (code, _)) in asked.outputs.iter().enumerate() {
            if code.trim().is_empty() {
                return Err("INVALID_TEXT");
            }
            if self.lots.iter().any(|lot| lot.code == *code) {
                return Err("DUPLICATE_LOT_CODE");
            }
            if asked.outputs[..index].iter().any(|(other, _)| other == code) {
                return Err("DUPLICATE_OUTPUT_CODE");
            }
        }
        add_up(asked, &taken, &made, loss)?;
        if made.iter().any(|(dimension, _)| *dimension != made[0].0) {
            return Err("SHARES_NEEDED");
        }
        for ((lot, parts), (_, amount)) in taken.iter().zip(&asked.inputs) {
            let least = match amount {
                Some(amount) => measure("0.000001", amount.unit)?.1,
                None => smallest(lot, *parts).ok_or("NO_QUANTITY")?,
            };
            if parts / least < made.len() as i128 {
                return Err("TOO_SMALL_TO_SHARE");
            }
        }
        Ok(taken.into_iter().map(|(lot, amount)| (lot.id, amount)).collect())
    }

    pub(super) fn may_take(&self, name: &LotName, how: &str, amount: Option<&Amount>) -> Option<&'static str> {
        let judge = || {
            let lot = self.lot(name).ok_or("UNKNOWN_LOT")?;
            if how == "move" {
                return Ok(());
            }
            let (dimension, parts) = match amount {
                Some(amount) => measure(amount.value, amount.unit)?,
                None => (lot.dimension, all_of(lot)?),
            };
            if lot.dimension != dimension {
                return Err("UNIT_MISMATCH");
            }
            if how != "increase" && parts > lot.left { Err("NOT_ENOUGH_LEFT") } else { Ok(()) }
        };
        judge().err()
    }

    pub(super) fn apply_take(
        &mut self,
        (name, how, amount): (&LotName, &str, Option<&Amount>),
        data: &Value,
        version: u64,
    ) -> Result<(), String> {
        let id = self.lot(name).map(|lot| lot.id).ok_or("an unknown lot was touched")?;
        same(&data["lot_id"], &id.to_string())?;
        let lot = self.lots.iter_mut().find(|lot| lot.id == id).ok_or("a lot is gone")?;
        lot.version = version;
        if how == "move" {
            return same(&data["location"], "the dock");
        }
        let parts = match amount {
            Some(amount) => measure(amount.value, amount.unit)?.1,
            None => lot.left,
        };
        if recorded(&data["quantity"])? != parts {
            return Err(format!("{parts} parts were due in {data}"));
        }
        if how == "increase" || how == "decrease" {
            same(&data["direction"], how)?;
        }
        lot.left += if how == "increase" { parts } else { -parts };
        Ok(())
    }

    pub(super) fn apply_transform(&mut self, asked: &Transform, data: &Value, version: u64) -> Result<(), String> {
        same(&data["kind"], asked.kind)?;
        let taken = self.judge(asked)?;
        let list = |name: &str| data[name].as_array().cloned().unwrap_or_default();
        let (inputs, outputs) = (list("inputs"), list("outputs"));
        if inputs.len() != taken.len() || outputs.len() != asked.outputs.len() {
            return Err(format!("{} inputs and {} outputs were recorded", inputs.len(), outputs.len()));
        }
        let product =
            self.lots.iter().find(|lot| lot.id == taken[0].0).map(|lot| lot.product).ok_or("a lot is gone")?;
        for (place, (input, (id, parts))) in inputs.iter().zip(&taken).enumerate() {
            same(&input["lot_id"], &id.to_string())?;
            if recorded(&input["quantity"])? != *parts {
                return Err(format!("{parts} parts were due in {input}"));
            }
            shared(*id, *parts, place, &outputs, asked)?;
            let lot = self.lots.iter_mut().find(|lot| lot.id == *id).ok_or("a lot is gone")?;
            lot.left -= parts;
            lot.version = version;
        }
        for (output, (code, amount)) in outputs.iter().zip(&asked.outputs) {
            same(&output["code"], code)?;
            same(&output["quantity"]["value"], amount.value)?;
            let product = if asked.kind == "transform" || asked.kind == "rework" { asked.product } else { product };
            same(&output["product"], product)?;
            let id = output["lot_id"].as_str().and_then(|id| id.parse().ok()).ok_or("an output has no id")?;
            let parents = taken.iter().map(|(parent, _)| *parent).collect();
            self.register(id, code, (product, parents), amount, version)?;
        }
        Ok(())
    }
}

/// How much of a lot is to be taken.
fn amount_wanted(
    asked: &Transform,
    lot: &Lot,
    amount: Option<&Amount>,
    made: &[(&'static str, i128)],
    loss: Option<(&'static str, i128)>,
) -> Result<(&'static str, i128), &'static str> {
    Ok(match amount {
        Some(amount) => measure(amount.value, amount.unit)?,
        None if asked.kind == "split" => {
            let all: Vec<_> = made.iter().copied().chain(loss).collect();
            if all.iter().any(|(dimension, _)| *dimension != lot.dimension) {
                return Err("UNIT_MISMATCH");
            }
            let sum = all.iter().map(|(_, parts)| parts).sum();
            smallest(lot, sum).ok_or("NO_QUANTITY")?;
            (lot.dimension, sum)
        }
        None => (lot.dimension, all_of(lot)?),
    })
}

/// How much of a lot is taken, if so much is in it.
fn amount_left(lot: &Lot, (dimension, parts): (&'static str, i128)) -> Result<i128, &'static str> {
    if lot.dimension != dimension {
        return Err("UNIT_MISMATCH");
    }
    if parts > lot.left { Err("NOT_ENOUGH_LEFT") } else { Ok(parts) }
}

/// What goes in comes out.
fn add_up(
    asked: &Transform,
    taken: &[(&Lot, i128)],
    made: &[(&'static str, i128)],
    loss: Option<(&'static str, i128)>,
) -> Result<(), &'static str> {
    let first = taken[0].0;
    if asked.kind == "split" || asked.kind == "merge" {
        if taken.iter().any(|(lot, _)| lot.product != first.product) {
            return Err("OTHER_PRODUCT");
        }
        let others = taken.iter().map(|(lot, _)| lot.dimension).chain(made.iter().map(|(dimension, _)| *dimension));
        if others.into_iter().any(|dimension| dimension != first.dimension) {
            return Err("UNIT_MISMATCH");
        }
    }
    let of_one = taken.iter().all(|(lot, _)| lot.dimension == first.dimension)
        && made.iter().all(|(dimension, _)| *dimension == first.dimension);
    if !of_one {
        return Ok(());
    }
    if loss.is_some_and(|(dimension, _)| dimension != first.dimension) {
        return Err("UNIT_MISMATCH");
    }
    let inputs: i128 = taken.iter().map(|(_, parts)| parts).sum();
    let outputs: i128 = made.iter().map(|(_, parts)| parts).sum();
    if inputs == outputs + loss.map_or(0, |(_, parts)| parts) { Ok(()) } else { Err("UNBALANCED") }
}

/// Each output has its share of an input to within one of the smallest amounts, and all have all.
fn shared(id: Uuid, taken: i128, place: usize, outputs: &[Value], asked: &Transform) -> Result<(), String> {
    let mut weights = Vec::new();
    for (_, amount) in &asked.outputs {
        weights.push(measure(amount.value, amount.unit)?.1);
    }
    let (mut sum, whole): (i128, i128) = (0, weights.iter().sum());
    for (output, weight) in outputs.iter().zip(&weights) {
        let parent = &output["parents"][place];
        same(&parent["lot_id"], &id.to_string())?;
        let part = recorded(&parent["quantity"])?;
        let unit = parent["quantity"]["unit"].as_str().unwrap_or_default();
        let (_, least) = measure("0.000001", word(unit)?)?;
        // In the smallest amounts; scaled down, so that the products fit.
        let (due, got) = (taken / least * (weight / 1_000), part / least * (whole / 1_000));
        if part < least || (due - got).abs() > whole / 1_000 + weights.len() as i128 {
            return Err(format!("{part} parts of {id} went into an output of {weight} in {whole}"));
        }
        sum += part;
    }
    if sum == taken { Ok(()) } else { Err(format!("{sum} of {taken} parts of {id} are attributed")) }
}

pub(super) fn all_of(lot: &Lot) -> Result<i128, &'static str> {
    if lot.left == 0 {
        return Err("NOTHING_LEFT");
    }
    smallest(lot, lot.left).map(|_| lot.left).ok_or("NO_QUANTITY")
}

/// The smallest amount of the first unit that can tell an amount of the lot.
fn smallest(lot: &Lot, parts: i128) -> Option<i128> {
    let others: &[&str] = if lot.dimension == "mass" { &["MGM", "GRM", "KGM", "TNE", "LBR"] } else { &[] };
    let units = [lot.unit].into_iter().chain(others.iter().copied());
    units
        .filter_map(|unit| measure("0.000001", unit).ok())
        .map(|(_, least)| least)
        .find(|least| parts > 0 && parts % least == 0)
}

pub(super) fn recorded(quantity: &Value) -> Result<i128, String> {
    let text = |name: &str| quantity[name].as_str().ok_or_else(|| format!("no {name} in {quantity}"));
    Ok(measure(text("value")?, word(text("unit")?)?)?.1)
}

fn word(unit: &str) -> Result<&'static str, String> {
    let known = ["KGM", "GRM", "MGM", "TNE", "LBR", "LTR", "MLT", "HLT", "MTQ", "C62"];
    known.into_iter().find(|known| *known == unit).ok_or_else(|| format!("the unit {unit} is not known here"))
}
