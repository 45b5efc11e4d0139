//! Leads one device through its polls: which request is next, what its answer means, and which addresses it refuses.
//!
//! When a device answers `IllegalDataAddress` to a block, the block is halved and asked again within the same poll, down to single
//! signals. A signal refused alone is bad; two halves accepted where the whole was not mean that the whole touched something
//! between them, or was too long, so a fence is remembered there. The next plan respects both, so neighbours of a bad
//! address pay once and are grouped again afterwards.
//!
//! Invariant: every poll leaves exactly one reading per signal, whatever the device answered or did not.

use lotline_domain::sample::Quality;
use lotline_domain::signal::{Address, DataType, SignalDeclared};
use lotline_domain::timestamp::Timestamp;
use thiserror::Error;

use super::decode::Decoder;
use super::plan::{Block, Learned, Limits, Span, cover, plan};
use super::{Answer, Exception, Request, holds_bits};
use crate::field::Reading;

/// One device: its signals, compiled, and what it has taught us.
#[derive(Debug)]
pub struct Engine {
    spans: Vec<Span>,
    targets: Vec<Target>,
    /// Declarations that no request can serve, such as a number in a table of bits.
    unusable: Vec<u32>,
    limits: Limits,
    learned: Learned,
    blocks: Vec<Block>,
}

#[derive(Debug, Clone, Copy)]
struct Target {
    signal: u32,
    decoder: Decoder,
}

/// An answer that does not belong to its request: the connection is out of step and must be dropped.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the device answered {got} values to a request for {asked}")]
pub struct WrongAnswer {
    /// Registers or bits asked for.
    pub asked: u16,
    /// Registers or bits in the answer; 0 when it was of the other kind.
    pub got: usize,
}

/// One poll under way.
#[derive(Debug)]
pub struct Poll<'a> {
    engine: &'a mut Engine,
    /// Blocks and halves of blocks; those that were halved stay, for what their parts will tell.
    nodes: Vec<Node>,
    /// Nodes still to be asked, the next one last.
    pending: Vec<usize>,
    readings: Vec<Reading>,
    learned_more: bool,
}

#[derive(Debug)]
struct Node {
    block: Block,
    parent: Option<usize>,
    /// First span of the second half, once halved.
    middle: usize,
    unresolved_halves: u8,
    explained: bool,
}

impl Engine {
    /// Compiles the declarations of one device.
    pub fn new(signals: &[SignalDeclared], limits: Limits) -> Self {
        let mut unusable = Vec::new();
        let mut pairs: Vec<(Span, Target)> = Vec::with_capacity(signals.len());
        for signal in signals {
            match compile(signal) {
                Some(pair) => pairs.push(pair),
                None => unusable.push(signal.number),
            }
        }
        pairs.sort_by_key(|(span, target)| (*span, target.signal));
        let (spans, targets): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let blocks = plan(&spans, limits, &Learned::default());
        Self { spans, targets, unusable, limits, learned: Learned::default(), blocks }
    }

    /// Requests that a poll makes when the device refuses none.
    pub fn requests(&self) -> impl Iterator<Item = Request> + '_ {
        self.blocks.iter().map(|block| block.request)
    }

    /// Numbers of all signals.
    pub fn signals(&self) -> impl Iterator<Item = u32> + '_ {
        self.targets.iter().map(|target| target.signal).chain(self.unusable.iter().copied())
    }

    /// Whether the device has refused an address since the last [`Self::forget`].
    pub fn has_learned(&self) -> bool {
        self.learned != Learned::default()
    }

    /// Forgets what the device refused, because it may have been changed since.
    pub fn forget(&mut self) {
        self.learned = Learned::default();
        self.blocks = plan(&self.spans, self.limits, &self.learned);
    }

    /// Begins a poll at `now`.
    pub fn poll(&mut self, now: Timestamp) -> Poll<'_> {
        let mut readings = Vec::with_capacity(self.targets.len() + self.unusable.len());
        let refused = self.learned.bad.iter().map(|place| self.targets[*place].signal);
        for signal in refused.chain(self.unusable.iter().copied()) {
            readings.push(Reading::bad(signal, Quality::BAD_CONFIGURATION, now));
        }
        let nodes: Vec<Node> = self.blocks.iter().map(|block| Node::new(block.clone(), None)).collect();
        let pending = (0..nodes.len()).rev().collect();
        Poll { engine: self, nodes, pending, readings, learned_more: false }
    }
}

impl Poll<'_> {
    /// The request to make now; nothing when the poll is complete.
    pub fn request(&self) -> Option<Request> {
        self.pending.last().map(|node| self.nodes[*node].block.request)
    }

    /// Takes the answer to [`Self::request`], which arrived at `now`.
    ///
    /// # Errors
    /// [`WrongAnswer`] when it does not fit the request; the request is then still to be made.
    pub fn answer(&mut self, answer: &Answer, now: Timestamp) -> Result<(), WrongAnswer> {
        let Some(&node) = self.pending.last() else { return Ok(()) };
        let request = self.nodes[node].block.request;
        match answer {
            Answer::Exception(exception) => {
                self.pending.pop();
                self.refused(node, *exception, now);
                return Ok(());
            }
            Answer::Registers(words) => {
                let got = if holds_bits(request.table) { 0 } else { words.len() };
                self.read(node, got, now, |target, at| target.decoder.registers_to_value(&words[at..]))?;
            }
            Answer::Bits(bits) => {
                let got = if holds_bits(request.table) { bits.len() } else { 0 };
                self.read(node, got, now, |target, at| target.decoder.bit_to_value(bits[at]))?;
            }
        }
        self.pending.pop();
        self.resolved(node, false);
        Ok(())
    }

    /// Gives up on a unit for this poll: none of its signals that are still unread can be reached.
    pub fn lose_unit(&mut self, unit: u8, now: Timestamp) {
        let (lost, pending) =
            self.pending.iter().copied().partition(|node| self.nodes[*node].block.request.unit == unit);
        self.pending = pending;
        for node in Vec::into_iter(lost) {
            self.mark(node, Quality::BAD_NO_COMMUNICATION, now);
        }
    }

    /// Ends the poll; what was not answered can't be reached.
    pub fn finish(mut self, now: Timestamp) -> Vec<Reading> {
        for node in std::mem::take(&mut self.pending) {
            self.mark(node, Quality::BAD_NO_COMMUNICATION, now);
        }
        if self.learned_more {
            self.engine.blocks = plan(&self.engine.spans, self.engine.limits, &self.engine.learned);
        }
        self.readings
    }

    fn read(
        &mut self,
        node: usize,
        got: usize,
        now: Timestamp,
        decode: impl Fn(&Target, usize) -> (f64, Quality),
    ) -> Result<(), WrongAnswer> {
        let Block { request, spans } = &self.nodes[node].block;
        if got != usize::from(request.count) {
            return Err(WrongAnswer { asked: request.count, got });
        }
        for place in spans.clone() {
            let at = usize::from(self.engine.spans[place].start - request.start);
            let target = &self.engine.targets[place];
            let (value, quality) = decode(target, at);
            self.readings.push(Reading { signal: target.signal, value, quality, time: now });
        }
        Ok(())
    }

    fn refused(&mut self, node: usize, exception: Exception, now: Timestamp) {
        match exception {
            Exception::IllegalAddress if self.nodes[node].block.spans.len() > 1 => self.halve(node),
            Exception::IllegalAddress => {
                self.engine.learned.bad.insert(self.nodes[node].block.spans.start);
                self.learned_more = true;
                self.mark(node, Quality::BAD_CONFIGURATION, now);
                self.resolved(node, true);
            }
            Exception::IllegalFunction => self.mark(node, Quality::BAD_CONFIGURATION, now),
            Exception::GatewayNoDevice => self.mark(node, Quality::BAD_NO_COMMUNICATION, now),
            Exception::DeviceFailure => self.mark(node, Quality::BAD_DEVICE_FAILURE, now),
        }
    }

    fn halve(&mut self, node: usize) {
        let spans = self.nodes[node].block.spans.clone();
        let middle = spans.start + spans.len() / 2;
        self.nodes[node].middle = middle;
        self.nodes[node].unresolved_halves = 2;
        for half in [middle..spans.end, spans.start..middle] {
            let request = cover(&self.engine.spans[half.clone()]);
            self.pending.push(self.nodes.len());
            self.nodes.push(Node::new(Block { request, spans: half }, Some(node)));
        }
    }

    /// Tells the parents of a block what became of it. A parent whose halves were both accepted gets a fence between them.
    fn resolved(&mut self, node: usize, refused: bool) {
        let (mut node, mut refused) = (node, refused);
        while let Some(parent) = self.nodes[node].parent {
            let above = &mut self.nodes[parent];
            above.unresolved_halves -= 1;
            above.explained |= refused;
            if above.unresolved_halves > 0 {
                return;
            }
            if !above.explained {
                self.engine.learned.fences.insert(above.middle);
                self.learned_more = true;
            }
            (node, refused) = (parent, true);
        }
    }

    fn mark(&mut self, node: usize, quality: Quality, now: Timestamp) {
        for place in self.nodes[node].block.spans.clone() {
            self.readings.push(Reading::bad(self.engine.targets[place].signal, quality, now));
        }
    }
}

impl Node {
    fn new(block: Block, parent: Option<usize>) -> Self {
        Self { block, parent, middle: 0, unresolved_halves: 0, explained: false }
    }
}

fn compile(signal: &SignalDeclared) -> Option<(Span, Target)> {
    let Address::Modbus { unit, table, address, word_order } = signal.address;
    if holds_bits(table) && signal.data_type != DataType::Bool {
        return None;
    }
    let decoder = Decoder::new(signal.data_type, word_order, signal.scale, signal.offset);
    let span = Span { unit, table, start: address, len: signal.data_type.registers() };
    (span.end() <= 65_536).then_some((span, Target { signal: signal.number, decoder }))
}

#[cfg(test)]
mod tests;
