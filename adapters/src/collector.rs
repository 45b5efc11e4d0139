//! x
pub mod buffer;
