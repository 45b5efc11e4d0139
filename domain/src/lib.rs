//! Facts and rules of a plant, and nothing else.
//!
//! Everything here is a pure function of its arguments: no I/O, no clock, no randomness, no async runtime.
//! What the rules need from outside (a log, a clock, fresh ids) is described as a port in [`port`] and
//! handed in by the callers.
//!
//! The way of a decision: a [`command::Command`] meets a [`state::StreamState`] in [`state::StreamState::decide`], which gives
//! [`event::Event`]s or a [`refusal::Refusal`]; [`envelope::Envelope`] seals each event into the stream's hash chain.

pub mod access;
pub mod alert;
pub mod chain;
pub mod command;
mod daily_code;
pub mod envelope;
pub mod event;
pub mod flow;
pub mod gs1;
pub mod hold;
pub mod id;
pub mod identity;
pub mod lot;
pub mod master;
pub mod ownership;
pub mod partition;
pub mod personal;
pub mod pipeline;
pub mod port;
pub mod position;
pub mod projection;
pub mod qc;
pub mod quantity;
pub mod record;
pub mod refusal;
pub mod run;
pub mod sample;
pub mod scenario;
pub mod schema;
pub mod signal;
pub mod state;
pub mod timestamp;
pub mod trace;
pub mod trail;

#[cfg(test)]
mod given;
