//! Split, merge, transform, rework: lots out of lots, in one event or not at all.
//!
//! Rules, besides those of every input (it exists, stands once, is not blocked, of a split apart not on hold, has enough left) and of every output (its code is new in the site
//! and among the outputs):
//! - A *split* takes one lot and a *merge* makes one. Both keep the product and lose nothing but what is stated: outputs and loss are the
//!   inputs, exactly. A *transform* may lose and gain; where all amounts are of one dimension, outputs and loss must be inputs and gain, exactly,
//!   and where they are not (pieces out of kilograms) loss and gain are only recorded. *Rework* is a transform that takes a reason. Every
//!   output is a new lot, so the graph has no cycle.
//! - A lot may go in until the end of its last day of use, by the time of the decision in UTC; afterwards only by an exception with a
//!   reason, and so if it was marked as expired. A command that comes late, of something that happened in time, needs one too.
//! - An output lasts as long as the input that lasts shortest, unless it is given another day. It may be given a later one only where it is
//!   made by a transform and is another product than every input: processing can make food last longer, dividing, joining and reworking
//!   it can't. An output of the product of some inputs lasts no longer than these.
//! - How much of an input is in an output: see `attribution`.

use std::collections::HashSet;

use chrono::NaiveDate;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::attribution::{attribute, parts, shown};
use super::command::{TransformInput, TransformLots, TransformOutput};
use super::event::{DocumentReference, LotsTransformed, TransformationInput, TransformationKind, TransformationOutput};
use super::refusal::LotRefusal;
use super::{Lot, LotInput, Lots, MAX_PARENTS, attributes, base_unit, expiry, temperature};
use crate::command::{QuantityInput, decimal, optional_text, text};
use crate::id::{LotId, TransformationId, nth};
use crate::quantity::{Dimension, Quantity};
use crate::refusal::Refusal;

/// Most outputs of one transformation.
pub const MAX_OUTPUTS: usize = 1_000;
/// Most pairs of an input and an output.
pub const MAX_EDGES: usize = 5_000;
/// Most documents of one transformation.
pub const MAX_DOCUMENTS: usize = 16;

/// An input that may be taken.
struct Taken<'a> {
    id: LotId,
    lot: &'a Lot,
    product: &'a str,
    quantity: Quantity,
    exception: Option<String>,
    expired_on: Option<NaiveDate>,
}

/// The amounts of a transformation.
struct Amounts {
    outputs: Vec<Quantity>,
    loss: Option<Quantity>,
    gain: Option<Quantity>,
}

impl Lots {
    /// Decides a transformation on a day.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn decide_transform(
        &self,
        fresh: Uuid,
        command: &TransformLots,
        day: NaiveDate,
    ) -> Result<LotsTransformed, Refusal> {
        check_counts(command)?;
        let amounts = Amounts::read(command)?;
        let inputs = self.take(command, &amounts, day)?;
        self.check_codes(command)?;
        if command.kind.conserves() {
            same_product(command.kind, &inputs)?;
        }
        check_balance(command.kind, &inputs, &amounts)?;
        let shares = shares(&command.outputs)?;
        let parents = attributed(&inputs, &amounts.outputs, shares.as_deref())?;
        let mut outputs = Vec::with_capacity(command.outputs.len());
        for (index, (given, parents)) in command.outputs.iter().zip(parents).enumerate() {
            let lot_id = LotId(nth(fresh, index));
            let quantity = amounts.outputs[index];
            let share = shares.as_ref().map(|shares| shares[index]);
            let made = output(command.kind, given, &inputs).map(|made| TransformationOutput {
                lot_id,
                quantity,
                share,
                parents,
                ..made
            });
            outputs.push(entry("outputs", index, made)?);
        }
        Ok(LotsTransformed {
            transformation_id: TransformationId(fresh),
            kind: command.kind,
            inputs: inputs.into_iter().map(Taken::recorded).collect(),
            outputs,
            loss: amounts.loss,
            gain: amounts.gain,
            step: optional_text("step", command.step.as_deref(), 64)?,
            location: optional_text("location", command.location.as_deref(), 128)?,
            documents: documents(&command.documents)?,
        })
    }

    fn take(&self, command: &TransformLots, amounts: &Amounts, day: NaiveDate) -> Result<Vec<Taken<'_>>, Refusal> {
        let mut seen = HashSet::with_capacity(command.inputs.len());
        let mut inputs = Vec::with_capacity(command.inputs.len());
        for (index, input) in command.inputs.iter().enumerate() {
            let (id, lot) = self.find("inputs", &input.lot)?;
            if !seen.insert(id) {
                return Err(Refusal::DuplicateParent { field: "inputs", code: lot.code.clone() });
            }
            let quantity = match &input.quantity {
                Some(given) => entry("inputs", index, given.parse("inputs"))?,
                None if command.kind == TransformationKind::Split => amounts.split(lot)?,
                None => lot.all("inputs")?,
            };
            self.check_free("inputs", lot, Some(command.kind))?;
            lot.has("inputs", quantity)?;
            let exception = entry("inputs", index, exception(input))?;
            let expired_on = lot.over(day);
            if let Some(expires_on) = expired_on
                && exception.is_none()
            {
                let code = lot.code.clone();
                return Err(LotRefusal::LotExpired { field: "inputs", code, expires_on, day }.into());
            }
            // An exception that was not needed is none.
            let exception = exception.filter(|_| expired_on.is_some());
            inputs.push(Taken { id, lot, product: self.product(lot), quantity, exception, expired_on });
        }
        Ok(inputs)
    }

    fn check_codes(&self, command: &TransformLots) -> Result<(), Refusal> {
        let mut codes = HashSet::with_capacity(command.outputs.len());
        for (index, output) in command.outputs.iter().enumerate() {
            let code = entry("outputs", index, text("code", &output.code, 64))?;
            if let Some(by) = self.by_code(&code) {
                return Err(Refusal::DuplicateLotCode { field: "outputs", code, by });
            }
            if codes.contains(&code) {
                return Err(LotRefusal::DuplicateOutputCode { code }.into());
            }
            codes.insert(code);
        }
        Ok(())
    }
}

impl Taken<'_> {
    fn recorded(self) -> TransformationInput {
        let Self { id, quantity, expired_on, exception, .. } = self;
        TransformationInput { lot_id: id, quantity, expired_on, exception }
    }
}

impl Amounts {
    fn read(command: &TransformLots) -> Result<Self, Refusal> {
        let mut outputs = Vec::with_capacity(command.outputs.len());
        for (index, output) in command.outputs.iter().enumerate() {
            outputs.push(entry("outputs", index, output.quantity.parse("outputs"))?);
        }
        let parse = |field, given: Option<&QuantityInput>| given.map(|given| given.parse(field)).transpose();
        let loss = parse("loss", command.loss.as_ref())?;
        let gain = parse("gain", command.gain.as_ref())?;
        Ok(Self { outputs, loss, gain })
    }

    /// What a split takes when nothing else is said.
    fn split(&self, lot: &Lot) -> Result<Quantity, Refusal> {
        let mut sum = Decimal::ZERO;
        for (field, amount) in
            self.outputs.iter().map(|amount| ("outputs", amount)).chain(self.loss.iter().map(|loss| ("loss", loss)))
        {
            lot.measured_in(field, amount.unit())?;
            sum += amount.in_base();
        }
        lot.quantity("outputs", sum)
    }
}

pub(crate) fn entry<T>(list: &'static str, index: usize, result: Result<T, Refusal>) -> Result<T, Refusal> {
    result.map_err(|problem| LotRefusal::Entry { list, number: index + 1, problem: Box::new(problem) }.into())
}

fn exception(input: &TransformInput) -> Result<Option<String>, Refusal> {
    optional_text("exception", input.exception.as_deref(), 500)
}

fn check_counts(command: &TransformLots) -> Result<(), Refusal> {
    let (inputs, outputs) = (command.inputs.len(), command.outputs.len());
    for (field, given, max) in [
        ("inputs", inputs, MAX_PARENTS),
        ("outputs", outputs, MAX_OUTPUTS),
        ("documents", command.documents.len(), MAX_DOCUMENTS),
    ] {
        if given > max {
            return Err(Refusal::TooMany { field, given, max });
        }
    }
    let kind = command.kind.as_str();
    let wrong = |field, rule, given| Err(LotRefusal::WrongCount { kind, field, rule, given }.into());
    match command.kind {
        TransformationKind::Split if inputs != 1 => return wrong("inputs", "one input", inputs),
        TransformationKind::Merge if inputs < 2 => return wrong("inputs", "two inputs or more", inputs),
        TransformationKind::Merge if outputs != 1 => return wrong("outputs", "one output", outputs),
        _ if inputs == 0 => return wrong("inputs", "one input or more", inputs),
        _ if outputs == 0 => return wrong("outputs", "one output or more", outputs),
        _ => {}
    }
    let edges = inputs * outputs;
    if edges > MAX_EDGES {
        return Err(LotRefusal::TooManyEdges { inputs, outputs, edges, max: MAX_EDGES }.into());
    }
    Ok(())
}

fn same_product(kind: TransformationKind, inputs: &[Taken<'_>]) -> Result<(), Refusal> {
    let Some(first) = inputs.first() else { return Ok(()) };
    match inputs.iter().find(|input| input.product != first.product) {
        None => Ok(()),
        Some(other) => Err(LotRefusal::OtherProduct {
            kind: kind.as_str(),
            code: other.lot.code.clone(),
            is: other.product.to_owned(),
            given: first.product.to_owned(),
        }
        .into()),
    }
}

/// Everything in one dimension: what goes in and is gained is what comes out and is lost.
fn check_balance(kind: TransformationKind, inputs: &[Taken<'_>], amounts: &Amounts) -> Result<(), Refusal> {
    let Some(first) = inputs.first() else { return Ok(()) };
    if kind.conserves() {
        if let Some(given) = amounts.gain {
            return Err(LotRefusal::GainNotAllowed { kind: kind.as_str(), given }.into());
        }
        for input in inputs {
            first.lot.measured_in("inputs", input.quantity.unit())?;
        }
        for output in &amounts.outputs {
            first.lot.measured_in("outputs", output.unit())?;
        }
    }
    let dimension = first.lot.unit.dimension();
    let is_of = |quantity: &Quantity| quantity.unit().dimension() == dimension;
    if !inputs.iter().all(|input| is_of(&input.quantity)) || !amounts.outputs.iter().all(is_of) {
        return Ok(());
    }
    for (field, amount) in [("loss", amounts.loss), ("gain", amounts.gain)] {
        if let Some(amount) = amount {
            first.lot.measured_in(field, amount.unit())?;
        }
    }
    let sum = |quantities: &mut dyn Iterator<Item = Quantity>| quantities.map(|one| parts(one.in_base())).sum::<u128>();
    let taken = sum(&mut inputs.iter().map(|input| input.quantity));
    let made = sum(&mut amounts.outputs.iter().copied());
    let (lost, gained) = (sum(&mut amounts.loss.into_iter()), sum(&mut amounts.gain.into_iter()));
    if taken + gained == made + lost {
        return Ok(());
    }
    Err(LotRefusal::Unbalanced {
        inputs: shown(taken),
        gain: shown(gained),
        outputs: shown(made),
        loss: shown(lost),
        difference: shown((taken + gained).abs_diff(made + lost)),
        unit: base_unit(dimension).code(),
    }
    .into())
}

/// The shares as given: all or none.
fn shares(outputs: &[TransformOutput]) -> Result<Option<Vec<Decimal>>, Refusal> {
    let given = outputs.iter().filter(|output| output.share.is_some()).count();
    if given == 0 {
        return Ok(None);
    }
    if given < outputs.len() {
        return Err(LotRefusal::SharesIncomplete { given, outputs: outputs.len() }.into());
    }
    let rule = "above zero, with at most 12 digits before the point and 6 after it";
    let mut shares = Vec::with_capacity(outputs.len());
    for (index, output) in outputs.iter().enumerate() {
        let value = output.share.as_deref().and_then(decimal).filter(|share| {
            *share > Decimal::ZERO
                && share.scale() <= 6
                && *share < Decimal::from(10_i64.pow(Quantity::MAX_INTEGER_DIGITS))
        });
        shares.push(entry("outputs", index, value.ok_or(Refusal::InvalidNumber { field: "share", rule }))?);
    }
    Ok(Some(shares))
}

/// The parents of each output.
fn attributed(
    inputs: &[Taken<'_>],
    outputs: &[Quantity],
    shares: Option<&[Decimal]>,
) -> Result<Vec<Vec<LotInput>>, Refusal> {
    let weights: Vec<u128> = if let Some(shares) = shares {
        shares.iter().copied().map(parts).collect()
    } else {
        let dimension: Option<Dimension> = outputs.first().map(|output| output.unit().dimension());
        if outputs.iter().any(|output| Some(output.unit().dimension()) != dimension) {
            return Err(LotRefusal::SharesNeeded.into());
        }
        outputs.iter().map(|output| parts(output.in_base())).collect()
    };
    let mut parents: Vec<Vec<LotInput>> = outputs.iter().map(|_| Vec::with_capacity(inputs.len())).collect();
    for input in inputs {
        let Some(amounts) = attribute(input.quantity, &weights) else {
            let (code, quantity) = (input.lot.code.clone(), input.quantity);
            return Err(LotRefusal::TooSmallToShare { code, quantity, outputs: outputs.len() }.into());
        };
        for (of_output, quantity) in parents.iter_mut().zip(amounts) {
            of_output.push(LotInput { lot_id: input.id, quantity });
        }
    }
    Ok(parents)
}

/// An output but for its id, amounts and parents.
fn output(
    kind: TransformationKind,
    given: &TransformOutput,
    inputs: &[Taken<'_>],
) -> Result<TransformationOutput, Refusal> {
    let first = inputs.first().expect("invariant: a transformation has inputs");
    let code = text("code", &given.code, 64)?;
    let product = match &given.product {
        None if kind.conserves() => first.product.to_owned(),
        given => text("product", given.as_deref().unwrap_or_default(), 128)?,
    };
    if kind.conserves() && product != first.product {
        let (code, is) = (first.lot.code.clone(), first.product.to_owned());
        return Err(LotRefusal::OtherProduct { kind: kind.as_str(), code, is, given: product }.into());
    }
    let lot_type = match given.lot_type {
        None if kind.conserves() => first.lot.lot_type,
        given => given.ok_or(LotRefusal::LotTypeMissing)?,
    };
    let expires_on = match given.expires_on.map(expiry).transpose()? {
        Some(given) => Some(checked_expiry(kind, &code, &product, given, inputs)?),
        None => inputs.iter().filter_map(|input| input.lot.expires_on).min(),
    };
    Ok(TransformationOutput {
        lot_id: LotId(Uuid::nil()),
        code,
        lot_type,
        product,
        quantity: first.quantity,
        share: None,
        parents: Vec::new(),
        temperature_c: given.temperature_c.as_deref().map(temperature).transpose()?,
        expires_on,
        location: optional_text("location", given.location.as_deref(), 128)?,
        attributes: attributes(&given.attributes)?,
    })
}

fn checked_expiry(
    kind: TransformationKind,
    code: &str,
    product: &str,
    given: NaiveDate,
    inputs: &[Taken<'_>],
) -> Result<NaiveDate, Refusal> {
    let renewed = kind == TransformationKind::Transform;
    let bound = inputs.iter().filter(|input| !renewed || input.product == product);
    let shortest = bound.filter_map(|input| Some((input.lot.expires_on?, &input.lot.code))).min();
    match shortest {
        Some((latest, input)) if given > latest => {
            Err(LotRefusal::ExpiryTooLate { code: code.to_owned(), given, input: input.clone(), latest }.into())
        }
        Some(_) | None => Ok(given),
    }
}

pub(crate) fn documents(given: &[DocumentReference]) -> Result<Vec<DocumentReference>, Refusal> {
    let mut documents = Vec::with_capacity(given.len());
    for (index, document) in given.iter().enumerate() {
        let checked = text("documentType", &document.document_type, 64).and_then(|document_type| {
            Ok(DocumentReference { document_type, number: text("number", &document.number, 64)? })
        });
        documents.push(entry("documents", index, checked)?);
    }
    Ok(documents)
}

#[cfg(test)]
mod tests;
