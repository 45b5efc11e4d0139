//! The golden events about the door and the audit trail.

use std::collections::BTreeMap;

use lotline_domain::event::Event;
use lotline_domain::id::{ActorId, ApiKeyId, CorrelationId, SessionId, UserId};
use lotline_domain::trail::{
    AttemptKind, AttemptsRefused, ReadOperation, RefusedAttempts, SignInMethod, SignOutReason, SignedIn, SignedOut,
    TrailEvent, TrailRead,
};

use crate::{id, time};

/// The minimal and the full event of every type.
pub(crate) fn examples() -> Vec<[Event; 2]> {
    let pairs = [signed_in(), signed_out(), trail_read(), attempts_refused()];
    pairs.into_iter().map(|pair| pair.map(Event::Trail)).collect()
}

fn signed_in() -> [TrailEvent; 2] {
    [SignInMethod::Password, SignInMethod::SingleSignOn]
        .map(|method| TrailEvent::SignedIn(SignedIn { user_id: UserId(id(1)), session_id: SessionId(id(2)), method }))
}

fn signed_out() -> [TrailEvent; 2] {
    [(None, SignOutReason::Reset), (Some(SessionId(id(2))), SignOutReason::StolenRefreshToken)]
        .map(|(session_id, why)| TrailEvent::SignedOut(SignedOut { user_id: UserId(id(1)), session_id, why }))
}

fn trail_read() -> [TrailEvent; 2] {
    let asked = [("actor", "*"), ("stream", "north")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let reader = |text: &str| ActorId::new(text).expect("a valid id");
    let minimal = TrailRead {
        reader: reader("ann"),
        field: "auditTrail".into(),
        operation: ReadOperation::Subscription,
        asked: BTreeMap::new(),
        shown: None,
    };
    let full = TrailRead {
        reader: UserId(id(1)).actor(),
        operation: ReadOperation::Query,
        asked: BTreeMap::from(asked),
        shown: Some(100),
        ..minimal.clone()
    };
    [minimal, full].map(TrailEvent::TrailRead)
}

fn attempts_refused() -> [TrailEvent; 2] {
    let attempts = |kind, field: Option<&str>| RefusedAttempts {
        kind,
        field: field.map(str::to_owned),
        count: 2_000,
        first_at: time("2026-11-21T03:15:00.000001Z"),
        last_at: time("2026-11-21T03:15:01Z"),
        correlation_id: CorrelationId(id(3)),
    };
    let minimal = AttemptsRefused {
        user_id: None,
        key_id: None,
        attempts: vec![attempts(AttemptKind::BadToken, None)],
        others: 7,
    };
    // One or the other in the log; here both, so that each field is held.
    let full = AttemptsRefused {
        user_id: Some(UserId(id(1))),
        key_id: Some(ApiKeyId(id(2))),
        attempts: vec![
            attempts(AttemptKind::NotAllowed, Some("auditTrail")),
            attempts(AttemptKind::WrongPassword, None),
        ],
        others: 0,
    };
    [minimal, full].map(TrailEvent::AttemptsRefused)
}
