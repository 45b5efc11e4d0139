//! Sessions: refreshed, stolen, ended, here and on other nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lotline_adapters::identity::STALE_AFTER;
use lotline_domain::id::UserId;
use lotline_domain::identity::port::{IssuedTokens, RefreshError};
use lotline_domain::identity::session::{EndReason, RefreshRefusal};
use lotline_domain::identity::token::TokenRefusal;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::stand::{Node, Stand};

fn refusal(answer: Result<IssuedTokens, RefreshError>) -> RefreshRefusal {
    match answer.unwrap_err() {
        RefreshError::Refused { refusal, .. } => refusal,
        RefreshError::Store(error) => panic!("{error}"),
    }
}

async fn refreshed(node: &Node, tokens: &IssuedTokens) -> IssuedTokens {
    node.ports.sessions.refresh(tokens.refresh.expose()).await.unwrap()
}

#[tokio::test]
async fn each_refresh_token_gives_the_next_one() {
    let stand = Stand::new().await;
    let (one, other) = (stand.node().await, stand.node().await);
    let user = stand.user();
    let first = one.ports.sessions.open(user, "Firefox").await.unwrap();
    stand.clock.advance(Duration::from_mins(10));
    let second = refreshed(&other, &first).await;
    assert_eq!((second.user, second.session), (user, first.session));
    assert_ne!(second.refresh.expose(), first.refresh.expose());
    let (before, after) =
        (one.ports.tokens.verify(&first.access).unwrap(), one.ports.tokens.verify(&second.access).unwrap());
    assert_eq!(after.authenticated_at, before.authenticated_at, "refreshing is not signing in");
    assert_eq!(after.issued_at - before.issued_at, 600);
    assert_ne!(after.id, before.id);
    stand.clock.advance(Duration::from_hours(6 * 24));
    let third = refreshed(&one, &second).await;
    stand.clock.advance(Duration::from_hours(7 * 24));
    assert_eq!(refusal(one.ports.sessions.refresh(third.refresh.expose()).await), RefreshRefusal::Expired);
    assert!(one.ports.sessions.list(user).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_stolen_token_ends_the_family_of_thief_and_owner() {
    let stand = Stand::new().await;
    let node = stand.node().await;
    let first = node.ports.sessions.open(stand.user(), "owner").await.unwrap();
    let of_thief = refreshed(&node, &first).await;
    stand.clock.advance(Duration::from_secs(10));
    let replayed = node.ports.sessions.refresh(first.refresh.expose()).await.unwrap_err();
    assert!(
        matches!(replayed, RefreshError::Refused { refusal: RefreshRefusal::Reused, of: Some(of) } if of == (first.user, first.session)),
        "the audit trail learns whose: {replayed:?}"
    );
    assert_eq!(node.ports.tokens.verify(&of_thief.access).unwrap_err(), TokenRefusal::SessionEnded);
    for token in [&of_thief, &first] {
        assert_eq!(refusal(node.ports.sessions.refresh(token.refresh.expose()).await), RefreshRefusal::Ended);
    }
}

/// Two tabs of one browser. One gets the next token; the other gets none, and nobody is signed out.
#[tokio::test]
async fn of_many_uses_at_once_one_wins_and_the_family_lives() {
    let stand = Stand::new().await;
    let (one, other) = (stand.node().await, stand.node().await);
    let mut tokens = one.ports.sessions.open(stand.user(), "tabs").await.unwrap();
    for round in 0..5 {
        let uses = (0..16).map(|number| {
            let node = if number % 2 == 0 { &one } else { &other };
            node.ports.sessions.refresh(tokens.refresh.expose())
        });
        let (won, lost): (Vec<_>, Vec<_>) = join_all(uses).await.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "round {round}");
        assert!(lost.into_iter().all(|lost| refusal(lost) == RefreshRefusal::Superseded));
        tokens = won.into_iter().next().unwrap().unwrap();
    }
    one.ports.tokens.verify(&tokens.access).unwrap();
}

#[tokio::test]
async fn what_is_no_refresh_token_of_this_tenant_is_unknown() {
    let stand = Stand::new().await;
    let (dairy, bakery) = (stand.node().await, stand.node_with(crate::stand::options("bakery")).await);
    let tokens = dairy.ports.sessions.open(stand.user(), "x").await.unwrap();
    let forged = format!("lotline_refresh_{}", "0".repeat(64));
    for text in ["", &forged, "' OR 1=1 --", &tokens.access, &"x".repeat(1 << 20)] {
        assert_eq!(refusal(dairy.ports.sessions.refresh(text).await), RefreshRefusal::Unknown);
    }
    assert_eq!(refusal(bakery.ports.sessions.refresh(tokens.refresh.expose()).await), RefreshRefusal::Unknown);
    assert!(!bakery.ports.sessions.end(tokens.user, tokens.session, EndReason::SignedOut).await.unwrap());
    let kept = stand.count("SELECT count(*) FROM access.refresh_token t WHERE t::text LIKE '%lotline%'").await;
    assert_eq!(kept, 0, "only its digest is kept");
}

#[tokio::test]
async fn signing_out_ends_one_session_or_all() {
    let stand = Stand::new().await;
    let node = stand.node().await;
    let (ann, bob) = (stand.user(), stand.user());
    let mut sessions = Vec::new();
    for client in ["desk", "phone\n", "tablet"] {
        stand.clock.advance(Duration::from_secs(1));
        sessions.push(node.ports.sessions.open(ann, client).await.unwrap());
    }
    let of_bob = node.ports.sessions.open(bob, "desk").await.unwrap();
    let clients = |user: UserId| {
        let sessions = node.ports.sessions.list(user);
        async move { sessions.await.unwrap().into_iter().map(|open| open.client).collect::<Vec<_>>() }
    };
    assert_eq!(clients(ann).await, ["tablet", "phone", "desk"]);
    assert!(!node.ports.sessions.end(bob, sessions[0].session, EndReason::SignedOut).await.unwrap(), "not bob's");
    assert!(node.ports.sessions.end(ann, sessions[0].session, EndReason::SignedOut).await.unwrap());
    assert!(!node.ports.sessions.end(ann, sessions[0].session, EndReason::SignedOut).await.unwrap(), "once");
    assert_eq!(node.ports.tokens.goes_on(sessions[0].session), Err(TokenRefusal::SessionEnded));
    assert_eq!(node.ports.tokens.goes_on(sessions[1].session), Ok(()));
    assert_eq!(clients(ann).await, ["tablet", "phone"]);
    let kept = Some(sessions[1].session);
    assert_eq!(node.ports.sessions.end_all(ann, kept, EndReason::PasswordChanged).await.unwrap(), 1);
    assert_eq!(clients(ann).await, ["phone"]);
    assert_eq!(node.ports.sessions.end_all(ann, None, EndReason::SignedOutEverywhere).await.unwrap(), 1);
    for session in &sessions {
        assert_eq!(node.ports.tokens.verify(&session.access).unwrap_err(), TokenRefusal::SessionEnded);
        assert_eq!(refusal(node.ports.sessions.refresh(session.refresh.expose()).await), RefreshRefusal::Ended);
    }
    assert_eq!(clients(bob).await, ["desk"]);
    node.ports.tokens.verify(&of_bob.access).unwrap();
}

/// Also while a request refreshes it at the same moment: an end is never undone.
#[tokio::test]
async fn an_end_meets_a_refresh() {
    let stand = Stand::new().await;
    let (one, other) = (stand.node().await, stand.node().await);
    for _ in 0..10 {
        let tokens = one.ports.sessions.open(stand.user(), "x").await.unwrap();
        let (refreshed, ended) = tokio::join!(
            one.ports.sessions.refresh(tokens.refresh.expose()),
            other.ports.sessions.end(tokens.user, tokens.session, EndReason::Deactivated),
        );
        assert!(ended.unwrap());
        let last = refreshed.map_or(tokens.refresh, |next| next.refresh);
        assert_eq!(refusal(one.ports.sessions.refresh(last.expose()).await), RefreshRefusal::Ended);
    }
}

#[tokio::test]
async fn other_nodes_learn_of_an_end_by_themselves() {
    let stand = Stand::new().await;
    let (one, other) = (stand.node().await, stand.node().await);
    let cancel = CancellationToken::new();
    let (identity, stop) = (Arc::clone(&other.identity), cancel.clone());
    let running = tokio::spawn(async move { identity.run(stop).await });
    let tokens = one.ports.sessions.open(stand.user(), "x").await.unwrap();
    other.ports.tokens.verify(&tokens.access).unwrap();
    other.ports.tokens.verify(&tokens.access).unwrap();
    one.ports.sessions.end(tokens.user, tokens.session, EndReason::SignedOut).await.unwrap();
    assert_eq!(one.ports.tokens.verify(&tokens.access).unwrap_err(), TokenRefusal::SessionEnded, "here at once");
    let begun = Instant::now();
    // A slow machine may make a look late; then tokens do not count for a while, which is right too.
    while other.ports.tokens.verify(&tokens.access) != Err(TokenRefusal::SessionEnded) {
        assert!(begun.elapsed() < Duration::from_mins(1), "the other node never learned of it");
        sleep(Duration::from_millis(20)).await;
    }
    cancel.cancel();
    running.await.unwrap();
}

/// Such as one that PostgreSQL does not answer: what is not known is not let in.
#[tokio::test]
async fn a_node_that_hears_nothing_lets_nobody_in() {
    let stand = Stand::new().await;
    let mut options = crate::stand::options("dairy");
    options.stale_after = STALE_AFTER;
    let node = stand.node_with(options).await;
    let tokens = node.ports.sessions.open(stand.user(), "x").await.unwrap();
    let begun = Instant::now();
    node.identity.look().await.unwrap();
    while node.ports.tokens.verify(&tokens.access) != Err(TokenRefusal::Unavailable) {
        assert!(begun.elapsed() < Duration::from_mins(1), "it lets people in for ever");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() > STALE_AFTER, "not before");
    assert_eq!(node.ports.tokens.goes_on(tokens.session), Err(TokenRefusal::Unavailable), "nor does anything go on");
    loop {
        node.identity.look().await.unwrap();
        match node.ports.tokens.verify(&tokens.access) {
            Ok(_) => break,
            Err(refusal) => assert!(refusal == TokenRefusal::Unavailable && begun.elapsed() < Duration::from_mins(1)),
        }
    }
}

#[tokio::test]
async fn what_is_over_is_cleared_away() {
    let stand = Stand::new().await;
    let node = stand.node().await;
    let user = stand.person(&node, "ann@example.org").await;
    let gone = node.ports.sessions.open(user, "gone").await.unwrap();
    refreshed(&node, &gone).await;
    node.ports.sessions.end(user, gone.session, EndReason::SignedOut).await.unwrap();
    node.ports.passwords.sign_in("eve@example.org", "x", crate::stand::address(1)).await.unwrap_err();
    node.ports.names.reserve(&crate::stand::login("eve@example.org"), stand.user()).await.unwrap();
    assert_eq!(node.identity.clear().await.unwrap(), 0);
    stand.clock.advance(Duration::from_hours(8 * 24));
    let living = node.ports.sessions.open(user, "living").await.unwrap();
    assert_eq!(node.identity.clear().await.unwrap(), 3, "a session with its tokens, a strike, a reservation");
    assert_eq!(stand.count("SELECT count(*) FROM access.refresh_token").await, 1);
    assert_eq!(refusal(node.ports.sessions.refresh(gone.refresh.expose()).await), RefreshRefusal::Unknown);
    refreshed(&node, &living).await;
}
