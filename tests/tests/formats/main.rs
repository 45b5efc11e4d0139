//! The published formats: fresh, true to what is written, compatible with what was released, and accepted by a real schema registry.

#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

mod asyncapi;
mod fresh;
mod protobuf;
mod registry;
mod schemas;

use std::path::PathBuf;

/// A path below the root of the repository.
pub(crate) fn root(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}
