//! Which lots are on which holds: one look-up at use, one walk through the graph when a hold is placed or released.
//!
//! Many lots are on the same holds, so each distinct set of holds is kept once, and a lot has the number of its set. A lot that is on no hold
//! takes no room here.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::command::HoldRef;
use super::event::{HoldCause, HoldPlaced};
use super::refusal::HoldRefusal;
use crate::id::{HoldId, QcDecisionId};
use crate::lot::graph::Graph;

/// A hold as the rules need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its id.
    pub id: HoldId,
    /// Unique in the site.
    pub code: String,
    /// Whether it is not released.
    pub open: bool,
    /// Sequence of the last event that touched it.
    pub version: u64,
    /// Numbers of its roots; nothing once it is released.
    roots: Vec<u32>,
}

/// All holds of a site.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Holds {
    all: Vec<Hold>,
    by_id: HashMap<HoldId, u32>,
    by_code: HashMap<String, u32>,
    sets: Sets,
    /// The set of each lot that is on hold.
    held: HashMap<u32, u32>,
    /// The open hold that the decision in force on a lot has placed.
    of_decision: HashMap<u32, (QcDecisionId, u32)>,
}

/// Sets of holds that lots are on, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Sets {
    /// Numbers of holds, in order; empty where the place is free.
    members: Vec<Vec<u32>>,
    /// How many lots have it.
    lots: Vec<u32>,
    by_members: HashMap<Vec<u32>, u32>,
    free: Vec<u32>,
}

/// What becomes of a lot's set.
#[derive(Clone, Copy)]
enum Change {
    Add(u32),
    Remove(u32),
}

impl Holds {
    /// A hold by id.
    pub fn get(&self, id: HoldId) -> Option<&Hold> {
        self.by_id.get(&id).map(|number| &self.all[*number as usize])
    }

    /// Number of holds that are not released.
    pub fn open(&self) -> usize {
        self.all.iter().filter(|hold| hold.open).count()
    }

    /// Finds the hold that a command names.
    ///
    /// # Errors
    /// [`HoldRefusal::UnknownHold`].
    pub fn find(&self, reference: &HoldRef) -> Result<&Hold, HoldRefusal> {
        let number = match reference {
            HoldRef::Id(id) => self.by_id.get(id),
            HoldRef::Code(code) => self.by_code.get(code.trim()),
        };
        let number = number.ok_or_else(|| HoldRefusal::UnknownHold(reference.to_string()))?;
        Ok(&self.all[*number as usize])
    }

    /// The code of the next hold.
    pub(super) fn next_code(&self) -> String {
        let mut codes = (self.all.len() + 1..).map(|number| format!("H-{number}"));
        codes.find(|code| !self.by_code.contains_key(code)).expect("invariant: there are fewer holds than numbers")
    }

    /// The holds that a lot is on, the oldest first.
    pub(crate) fn on(&self, lot: u32) -> impl ExactSizeIterator<Item = &Hold> {
        let set = self.held.get(&lot).map_or(&[][..], |set| &self.sets.members[*set as usize]);
        set.iter().map(|hold| &self.all[*hold as usize])
    }

    /// Whether a lot is on any.
    pub(crate) fn is_held(&self, lot: u32) -> bool {
        self.held.contains_key(&lot)
    }

    /// Whether a lot is on a hold.
    pub(super) fn is_on(&self, lot: u32, hold: &Hold) -> bool {
        self.on(lot).any(|other| other.id == hold.id)
    }

    /// The open hold that the decision in force on a lot has placed, and the decision.
    pub(crate) fn of_decision(&self, lot: u32) -> Option<(QcDecisionId, &Hold)> {
        self.of_decision.get(&lot).map(|(decision, hold)| (*decision, &self.all[*hold as usize]))
    }

    /// The root through which a hold reaches a lot; nothing when the lot is a root itself.
    pub(super) fn root_of(&self, hold: &Hold, lot: u32, graph: &Graph) -> Option<u32> {
        let number = *self.by_id.get(&hold.id)?;
        let live: Vec<u32> = hold.roots.iter().copied().filter(|root| self.has(*root, number)).collect();
        match live.as_slice() {
            roots if roots.contains(&lot) => None,
            [only] => Some(*only),
            roots => roots.iter().copied().find(|root| self.walk(graph, vec![*root], number).contains(&lot)),
        }
    }

    /// Applies that a hold was placed on roots.
    pub(crate) fn place(&mut self, event: &HoldPlaced, roots: Vec<u32>, sequence: u64, graph: &Graph) {
        let number = self.all.len() as u32;
        self.by_id.insert(event.hold_id, number);
        self.by_code.insert(event.code.clone(), number);
        if let (HoldCause::Decision, Some(decision)) = (event.cause, event.decision_id) {
            self.of_decision.extend(roots.iter().map(|root| (*root, (decision, number))));
        }
        let mut memo = HashMap::new();
        let mut open = roots.clone();
        while let Some(lot) = open.pop() {
            if !self.has(lot, number) {
                self.change(lot, Change::Add(number), &mut memo);
                open.extend(graph.children(lot));
            }
        }
        let (id, code) = (event.hold_id, event.code.clone());
        self.all.push(Hold { id, code, open: true, version: sequence, roots });
    }

    /// Applies that a hold was released.
    pub(crate) fn release(&mut self, id: HoldId, sequence: u64, graph: &Graph) {
        let Some(number) = self.by_id.get(&id).copied() else { return };
        let hold = &mut self.all[number as usize];
        (hold.open, hold.version) = (false, sequence);
        let roots = std::mem::take(&mut hold.roots);
        self.of_decision.retain(|_, (_, placed)| *placed != number);
        self.remove_below(graph, roots, number, &HashSet::new());
    }

    /// Applies that lots were released from a hold by name.
    pub(crate) fn release_lots(&mut self, id: HoldId, lots: &[u32], sequence: u64, graph: &Graph) {
        let Some(number) = self.by_id.get(&id).copied() else { return };
        self.all[number as usize].version = sequence;
        let mut memo = HashMap::new();
        let mut below = Vec::new();
        for lot in lots.iter().copied().filter(|lot| self.has(*lot, number)).collect::<Vec<_>>() {
            self.change(lot, Change::Remove(number), &mut memo);
            below.extend(graph.children(lot));
        }
        let kept = self.walk(graph, self.all[number as usize].roots.clone(), number);
        self.remove_below(graph, below, number, &kept);
    }

    /// Applies that a lot was made from parents: it is on all holds that one of them is on.
    pub(crate) fn inherit(&mut self, child: u32, parents: impl Iterator<Item = u32>) {
        let mut holds: Vec<u32> = Vec::new();
        for set in parents.filter_map(|parent| self.held.get(&parent)) {
            holds.extend(&self.sets.members[*set as usize]);
        }
        holds.sort_unstable();
        holds.dedup();
        if !holds.is_empty() {
            let set = self.sets.number(holds);
            self.sets.lots[set as usize] += 1;
            self.held.insert(child, set);
        }
    }

    /// The lots on a hold to which a way leads from these through lots that are on it.
    fn walk(&self, graph: &Graph, mut open: Vec<u32>, hold: u32) -> HashSet<u32> {
        let mut reached = HashSet::new();
        while let Some(lot) = open.pop() {
            if self.has(lot, hold) && reached.insert(lot) {
                open.extend(graph.children(lot));
            }
        }
        reached
    }

    /// Takes a hold from these lots and all that it reaches from them, but for what is kept.
    fn remove_below(&mut self, graph: &Graph, mut open: Vec<u32>, hold: u32, kept: &HashSet<u32>) {
        let mut memo = HashMap::new();
        while let Some(lot) = open.pop() {
            if self.has(lot, hold) && !kept.contains(&lot) {
                self.change(lot, Change::Remove(hold), &mut memo);
                open.extend(graph.children(lot));
            }
        }
    }

    fn has(&self, lot: u32, hold: u32) -> bool {
        let set = self.held.get(&lot);
        set.is_some_and(|set| self.sets.members[*set as usize].binary_search(&hold).is_ok())
    }

    /// Moves a lot to another set. `memo` has what came of each set before in the same walk: mostly it is one.
    fn change(&mut self, lot: u32, change: Change, memo: &mut HashMap<Option<u32>, Option<u32>>) {
        let before = self.held.get(&lot).copied();
        let after = *memo.entry(before).or_insert_with(|| self.sets.changed(before, change));
        match after {
            Some(set) => {
                self.sets.lots[set as usize] += 1;
                self.held.insert(lot, set);
            }
            None => {
                self.held.remove(&lot);
            }
        }
        if let Some(set) = before {
            self.sets.leave(set);
        }
    }
}

impl Sets {
    fn changed(&mut self, set: Option<u32>, change: Change) -> Option<u32> {
        let mut members = set.map(|set| self.members[set as usize].clone()).unwrap_or_default();
        match change {
            Change::Add(hold) => {
                let place = members.binary_search(&hold).unwrap_or_else(|place| place);
                members.insert(place, hold);
            }
            Change::Remove(hold) => members.retain(|other| *other != hold),
        }
        (!members.is_empty()).then(|| self.number(members))
    }

    fn number(&mut self, members: Vec<u32>) -> u32 {
        if let Some(known) = self.by_members.get(&members) {
            return *known;
        }
        let number = self.free.pop().unwrap_or(self.members.len() as u32);
        if number as usize == self.members.len() {
            self.members.push(Vec::new());
            self.lots.push(0);
        }
        self.members[number as usize].clone_from(&members);
        self.by_members.insert(members, number);
        number
    }

    /// One lot less has it; the last one frees the place.
    fn leave(&mut self, set: u32) {
        let lots = &mut self.lots[set as usize];
        *lots -= 1;
        if *lots == 0 {
            let members = std::mem::take(&mut self.members[set as usize]);
            self.by_members.remove(&members);
            self.free.push(set);
        }
    }
}
