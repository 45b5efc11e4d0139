//! What each event changed, from what to what: a fold over the subjects' last known states.
//!
//! A state keeps only what a later event can change; what is fixed at creation is never a "before" again.

mod access;
mod alert;
mod hold;
mod lots;
mod run;
mod scenario;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use lotline_domain::access::grant::RightSet;
use lotline_domain::event::{Event, Fact};
use lotline_domain::lot::LotRegistered;
use lotline_domain::lot::event::NewLot;
use lotline_domain::qc::QcOutcome;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::batch::{LedgerEvent, Slice};
use crate::failure::ApplyError;

/// What a subject looked like after its last event.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Lot {
        remaining_base: Decimal,
        qc_status: Option<QcOutcome>,
        #[serde(default)]
        location: Option<String>,
        #[serde(default)]
        expired: bool,
    },
    Pipeline {
        name: String,
        definition: Box<RawValue>,
        published_version: Option<u32>,
        archived: bool,
    },
    User(access::UserState),
    ApiKey {
        revoked: bool,
    },
    PipelineAccess {
        rights: RightSet,
    },
    Scenario(scenario::ScenarioState),
    Run(run::RunState),
    /// The data of the event that defined it last.
    Defined(Box<RawValue>),
}

impl State {
    /// A lot as it came into being.
    pub(super) fn registered(data: &LotRegistered) -> Self {
        Self::new_lot(&NewLot::from(data))
    }
}

/// The two JSON columns of an event.
pub(super) struct Entry<'a> {
    pub(super) data: &'a str,
    pub(super) changes: String,
}

/// The states that a batch needs and makes, by subject.
#[derive(Default)]
pub(super) struct States {
    known: HashMap<String, State>,
    touched: HashSet<String>,
}

#[derive(Deserialize)]
struct RawBody<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Builds `{field: {"before": …, "after": …}}`.
struct Changes {
    json: String,
}

/// Subjects whose earlier state the events of a slice refer to.
pub(super) fn needed(slice: Slice<'_>) -> Vec<String> {
    let mut created = HashSet::new();
    let mut needed = HashSet::new();
    for (event, fact) in slice.facts() {
        let subject = event.envelope.attributes.subject.as_str();
        match &fact.event {
            Event::LotRegistered(data) => {
                for input in &data.parents {
                    let parent = format!("lot/{}", input.lot_id);
                    if !created.contains(&parent) {
                        needed.insert(parent);
                    }
                }
                created.insert(subject.to_owned());
            }
            Event::Lot(event) => {
                needed.extend(lots::needed(event).filter(|lot| !created.contains(lot)));
                created.extend(lots::created(event));
            }
            Event::PipelineDrafted(_) => {
                created.insert(subject.to_owned());
            }
            Event::QcDecisionRecorded(_)
            | Event::PipelineRevised(_)
            | Event::PipelinePublished(_)
            | Event::PipelineArchived(_) => {
                if !created.contains(subject) {
                    needed.insert(subject.to_owned());
                }
            }
            Event::Master(_) => {
                // A first definition has no state before; so much is found out when it is looked for.
                needed.insert(subject.to_owned());
            }
            Event::Access(change) => {
                if access::is_creation(change) {
                    created.insert(subject.to_owned());
                } else if !created.contains(subject) {
                    needed.insert(subject.to_owned());
                }
            }
            Event::Scenario(change) => {
                if scenario::is_creation(change) {
                    created.insert(subject.to_owned());
                } else if !created.contains(subject) {
                    needed.insert(subject.to_owned());
                }
            }
            Event::Run(change) => {
                if run::is_creation(change) {
                    created.insert(subject.to_owned());
                } else if run::has_state(change) && !created.contains(subject) {
                    needed.insert(subject.to_owned());
                }
            }
            Event::Alert(_)
            | Event::Hold(_)
            | Event::SignalDeclared(_)
            | Event::ProjectionRetried(_)
            | Event::ProjectionEventSkipped(_)
            | Event::Trail(_)
            | Event::CommandRefused(_)
            | Event::RefusalsSuppressed(_) => {}
        }
    }
    needed.into_iter().collect()
}

impl States {
    pub(super) fn resume(known: HashMap<String, State>) -> Self {
        Self { known, touched: HashSet::new() }
    }

    /// The states that changed, to be kept.
    pub(super) fn changed(&self) -> impl Iterator<Item = (&str, &State)> {
        self.touched.iter().filter_map(|subject| Some((subject.as_str(), self.known.get(subject)?)))
    }

    /// The columns of one event; moves the states on.
    pub(super) fn record<'a>(&mut self, event: &'a LedgerEvent, fact: &Fact) -> Result<Entry<'a>, ApplyError> {
        let body: RawBody<'a> = serde_json::from_slice(&event.envelope.value)?;
        let subject = event.envelope.attributes.subject.as_str();
        let mut changes = Changes::new(body.data.get().len());
        match &fact.event {
            Event::LotRegistered(data) => {
                changes.creation(body.data)?;
                self.register(subject, data, &mut changes)?;
            }
            Event::QcDecisionRecorded(data) => {
                let State::Lot { qc_status, .. } = self.get(subject)? else { return Err(wrong_kind(subject)) };
                changes.push("qc_status", &*qc_status, &Some(data.outcome))?;
                *qc_status = Some(data.outcome);
            }
            Event::Lot(change) => self.change_lots(subject, change, body.data, &mut changes)?,
            Event::PipelineDrafted(data) => {
                changes.creation(body.data)?;
                let definition = to_raw_value(&data.definition)?;
                let name = data.name.clone();
                self.put(subject, State::Pipeline { name, definition, published_version: None, archived: false });
            }
            Event::PipelineRevised(_) | Event::PipelinePublished(_) | Event::PipelineArchived(_) => {
                change_pipeline(self.get(subject)?, &fact.event, subject, &mut changes)?;
            }
            Event::SignalDeclared(_) => changes.creation(body.data)?,
            Event::Master(_) => self.define(subject, body.data, &mut changes)?,
            Event::Access(change) => self.change_access(subject, change, body.data, &mut changes)?,
            Event::Scenario(change) => self.change_scenario(subject, change, body.data, &mut changes)?,
            Event::Run(change) => self.change_run(subject, change, body.data, &mut changes)?,
            Event::Alert(change) => alert::change_alert(change, body.data, &mut changes)?,
            Event::Hold(change) => hold::changed(change, body.data, &mut changes)?,
            Event::ProjectionRetried(_)
            | Event::ProjectionEventSkipped(_)
            | Event::Trail(_)
            | Event::CommandRefused(_)
            | Event::RefusalsSuppressed(_) => {}
        }
        Ok(Entry { data: body.data.get(), changes: changes.finish() })
    }

    fn register(&mut self, subject: &str, data: &LotRegistered, changes: &mut Changes) -> Result<(), ApplyError> {
        for input in &data.parents {
            let parent = format!("lot/{}", input.lot_id);
            let State::Lot { remaining_base, .. } = self.get(&parent)? else { return Err(wrong_kind(&parent)) };
            let after = (*remaining_base - input.quantity.in_base()).normalize();
            changes.push(&format!("{parent}.remaining_base"), &*remaining_base, &after)?;
            *remaining_base = after;
        }
        // Not kept by itself: most lots never change, and of one that does the registration is at hand.
        self.known.insert(subject.to_owned(), State::registered(data));
        Ok(())
    }

    /// A definition says all of a thing, so what differs from the one before has changed.
    fn define(&mut self, subject: &str, data: &RawValue, changes: &mut Changes) -> Result<(), ApplyError> {
        match self.known.get(subject) {
            Some(State::Defined(before)) => changes.difference(before, data)?,
            Some(_) => return Err(wrong_kind(subject)),
            None => changes.creation(data)?,
        }
        self.put(subject, State::Defined(data.to_owned()));
        Ok(())
    }

    fn put(&mut self, subject: &str, state: State) {
        self.known.insert(subject.to_owned(), state);
        self.touched.insert(subject.to_owned());
    }

    fn get(&mut self, subject: &str) -> Result<&mut State, ApplyError> {
        if !self.touched.contains(subject) {
            self.touched.insert(subject.to_owned());
        }
        self.known
            .get_mut(subject)
            .ok_or_else(|| ApplyError::Inconsistent(format!("the earlier state of {subject} is not known")))
    }
}

fn wrong_kind(subject: &str) -> ApplyError {
    ApplyError::Inconsistent(format!("{subject} is another kind of thing than its event says"))
}

fn change_pipeline(state: &mut State, event: &Event, subject: &str, changes: &mut Changes) -> Result<(), ApplyError> {
    let State::Pipeline { name, definition, published_version, archived } = state else {
        return Err(wrong_kind(subject));
    };
    match event {
        Event::PipelineRevised(data) => {
            if *name != data.name {
                changes.push("name", &*name, &data.name)?;
                name.clone_from(&data.name);
            }
            let after = to_raw_value(&data.definition)?;
            if definition.get() != after.get() {
                changes.push("definition", &*definition, &after)?;
                *definition = after;
            }
        }
        Event::PipelinePublished(data) => {
            changes.push("published_version", &*published_version, &data.version)?;
            *published_version = Some(data.version);
        }
        Event::PipelineArchived(_) => {
            changes.push("archived", &*archived, &true)?;
            *archived = true;
        }
        Event::PipelineDrafted(_)
        | Event::LotRegistered(_)
        | Event::Lot(_)
        | Event::QcDecisionRecorded(_)
        | Event::SignalDeclared(_)
        | Event::Master(_)
        | Event::Access(_)
        | Event::ProjectionRetried(_)
        | Event::ProjectionEventSkipped(_)
        | Event::Trail(_)
        | Event::Scenario(_)
        | Event::Run(_)
        | Event::Alert(_)
        | Event::Hold(_)
        | Event::CommandRefused(_)
        | Event::RefusalsSuppressed(_) => {}
    }
    Ok(())
}

impl Changes {
    fn new(capacity: usize) -> Self {
        let mut json = String::with_capacity(capacity * 2 + 64);
        json.push('{');
        Self { json }
    }

    fn creation(&mut self, data: &RawValue) -> Result<(), ApplyError> {
        let fields: BTreeMap<&str, &RawValue> = serde_json::from_str(data.get())?;
        for (field, after) in fields {
            self.push_raw(field, "null", after.get())?;
        }
        Ok(())
    }

    fn difference(&mut self, before: &RawValue, after: &RawValue) -> Result<(), ApplyError> {
        let before: BTreeMap<&str, &RawValue> = serde_json::from_str(before.get())?;
        let after: BTreeMap<&str, &RawValue> = serde_json::from_str(after.get())?;
        let fields: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
        let text = |fields: &BTreeMap<&str, &RawValue>, field| {
            fields.get(field).map_or_else(|| "null".to_owned(), |value| value.get().to_owned())
        };
        for field in fields {
            let (before, after) = (text(&before, field), text(&after, field));
            if before != after {
                self.push_raw(field, &before, &after)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, field: &str, before: &impl Serialize, after: &impl Serialize) -> Result<(), ApplyError> {
        self.push_raw(field, &serde_json::to_string(before)?, &serde_json::to_string(after)?)
    }

    fn push_raw(&mut self, field: &str, before: &str, after: &str) -> Result<(), ApplyError> {
        if self.json.len() > 1 {
            self.json.push(',');
        }
        self.json.push_str(&serde_json::to_string(field)?);
        for part in [":{\"before\":", before, ",\"after\":", after, "}"] {
            self.json.push_str(part);
        }
        Ok(())
    }

    fn finish(mut self) -> String {
        self.json.push('}');
        self.json
    }
}
