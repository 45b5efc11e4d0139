//! What administrators decide about read models that could not follow a stream: to try again, or to leave one event out.
//!
//! Which models there are and where they have stopped is not the ledger's to know, so no rule here asks for it. A decision about a stream that
//! a model follows well changes nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command::text;
use crate::id::StreamKey;
use crate::refusal::Refusal;

/// `lotline.projection.retried.v1`: a read model shall try again to follow a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectionRetried {
    /// Name of the read model, such as `lots`.
    pub model: String,
    /// Key of the stream: a site id or `_tenant`.
    pub stream: String,
}

/// `lotline.projection.event_skipped.v1`: a read model shall leave out exactly one event and follow the rest of its stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectionEventSkipped {
    /// Name of the read model, such as `lots`.
    pub model: String,
    /// Key of the stream: a site id or `_tenant`.
    pub stream: String,
    /// `ce_sequence` of the event in its stream.
    pub sequence: u64,
}

/// # Errors
/// A bad name of a model or stream.
pub(crate) fn decide_retry(model: &str, stream: &str) -> Result<ProjectionRetried, Refusal> {
    Ok(ProjectionRetried { model: text("readModel", model, 64)?, stream: stream_key(stream)? })
}

/// # Errors
/// A bad name of a model or stream, or a sequence that no event has.
pub(crate) fn decide_skip(model: &str, stream: &str, sequence: u64) -> Result<ProjectionEventSkipped, Refusal> {
    let (model, stream) = (text("readModel", model, 64)?, stream_key(stream)?);
    if sequence == 0 || i64::try_from(sequence).is_err() {
        return Err(Refusal::InvalidNumber { field: "sequence", rule: "from 1, as events of a stream are counted" });
    }
    Ok(ProjectionEventSkipped { model, stream, sequence })
}

fn stream_key(given: &str) -> Result<String, Refusal> {
    let key = StreamKey::parse(given).map_err(|error| Refusal::invalid_id("stream", &error))?;
    Ok(key.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::event::Event;
    use crate::given::{site, tenant};

    fn retry(stream: &str) -> Command {
        Command::RetryProjection { model: "lots".into(), stream: stream.into() }
    }

    fn skip(sequence: u64) -> Command {
        Command::SkipProjectionEvent { model: " lots ".into(), stream: "_tenant".into(), sequence }
    }

    #[test]
    fn a_decision_about_a_read_model_needs_a_reason() {
        for command in [retry("north"), skip(3)] {
            let missing = "this command needs a reason";
            tenant(&[]).when(command).refused("REASON_REQUIRED", Some("reason"), missing);
        }
        let mut request = tenant(&[]).request(retry("north"));
        request.reason = Some("  ".into());
        assert_eq!(tenant(&[]).when_asked(&request).refusal(), Refusal::MissingReason);
    }

    #[test]
    fn with_a_reason_it_is_recorded() {
        let mut request = tenant(&[]).request(retry("north"));
        request.reason = Some("the constraint is gone".into());
        let retried = ProjectionRetried { model: "lots".into(), stream: "north".into() };
        tenant(&[]).when_asked(&request).event(&Event::ProjectionRetried(retried));
        request.command = skip(3);
        let skipped = ProjectionEventSkipped { model: "lots".into(), stream: "_tenant".into(), sequence: 3 };
        let decision = tenant(&[]).when_asked(&request).accepted();
        assert_eq!(decision.events, [Event::ProjectionEventSkipped(skipped)]);
        assert_eq!(decision.reason.as_deref(), Some("the constraint is gone"));
    }

    #[test]
    fn nonsense_is_refused() {
        let mut request = tenant(&[]).request(retry("No Site"));
        request.reason = Some("x".into());
        let refusal = tenant(&[]).when_asked(&request).refusal();
        assert_eq!((refusal.code(), refusal.field()), ("INVALID_ID", Some("stream")));
        for sequence in [0, u64::MAX] {
            request.command = skip(sequence);
            let refusal = tenant(&[]).when_asked(&request).refusal();
            assert_eq!((refusal.code(), refusal.field()), ("INVALID_NUMBER", Some("sequence")));
        }
        request = site(&[]).request(retry("north"));
        assert_eq!(site(&[]).when_asked(&request).refusal().code(), "WRONG_STREAM");
    }
}
