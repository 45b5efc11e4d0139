//! Holds: lots that nobody may use until somebody lets them go.
//!
//! A hold names its root lots and reaches all that was made from them in the site. Its event lists the roots only; what it reaches follows from
//! the edges before it, so that 50,000 descendants need no more bytes than one, and every reader finds the same lots. Rules:
//! - A lot may be under several holds, and is free when none is left.
//! - Nothing on hold goes into another lot, but a split may take of it: its parts are on the same holds, so that some of them can be released.
//!   It may be moved, sampled, counted, marked as expired and thrown away.
//! - A lot that is released from a hold by name takes along what the hold reaches only through it. What is also reached around it stays.
//! - A HOLD or FAIL places a hold; the next decision on the lot releases it. A failed lot takes no further decision, so its hold is released by
//!   people only, and the failed lot itself is not usable afterwards either.
//!
//! Invariant: a hold is on exactly the lots to which a way leads from its roots without a lot that was released from it by name.

pub mod command;
mod decide;
pub mod event;
pub mod refusal;
pub mod state;

/// Most lots of one command.
pub const MAX_LOTS: usize = 1_000;

#[cfg(test)]
mod tests;
