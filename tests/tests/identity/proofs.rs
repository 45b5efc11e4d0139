//! Proofs for signatures: one person, one session, one command, once, soon.

use std::time::Duration;

use futures_util::future::join_all;
use lotline_domain::id::{SessionId, UserId};
use lotline_domain::identity::port::ProofScope;
use uuid::Uuid;

use crate::stand::Stand;

fn scope() -> ProofScope {
    ProofScope { user: UserId(Uuid::from_u128(1)), session: SessionId(Uuid::from_u128(2)), command: [3; 32] }
}

#[tokio::test]
async fn a_proof_is_used_once_also_by_many_at_once() {
    let stand = Stand::new().await;
    let (one, other) = (stand.node().await, stand.node().await);
    let proof = one.ports.proofs.issue(scope()).await.unwrap();
    let uses = (0..8).map(|number| {
        let node = if number % 2 == 0 { &one } else { &other };
        node.ports.proofs.redeem(proof.expose(), scope())
    });
    let done = join_all(uses).await;
    assert_eq!(done.into_iter().filter(|done| *done.as_ref().unwrap()).count(), 1);
    assert!(!one.ports.proofs.redeem(proof.expose(), scope()).await.unwrap());
}

#[tokio::test]
async fn a_proof_is_for_what_it_was_given_for() {
    let stand = Stand::new().await;
    let (dairy, bakery) = (stand.node().await, stand.node_with(crate::stand::options("bakery")).await);
    let proof = dairy.ports.proofs.issue(scope()).await.unwrap();
    let others = [
        ProofScope { user: UserId(Uuid::from_u128(9)), ..scope() },
        ProofScope { session: SessionId(Uuid::from_u128(9)), ..scope() },
        ProofScope { command: [9; 32], ..scope() },
    ];
    for other in others {
        assert!(!dairy.ports.proofs.redeem(proof.expose(), other).await.unwrap(), "{other:?}");
    }
    assert!(!bakery.ports.proofs.redeem(proof.expose(), scope()).await.unwrap());
    for text in ["", "lotline_proof_", &proof.expose().replace("proof", "link")] {
        assert!(!dairy.ports.proofs.redeem(text, scope()).await.unwrap(), "{text}");
    }
    assert!(dairy.ports.proofs.redeem(proof.expose(), scope()).await.unwrap(), "none of that has used it up");
}

#[tokio::test]
async fn a_proof_is_good_for_two_minutes() {
    let stand = Stand::new().await;
    let node = stand.node().await;
    let proofs = [node.ports.proofs.issue(scope()).await.unwrap(), node.ports.proofs.issue(scope()).await.unwrap()];
    stand.clock.advance(Duration::from_secs(119));
    assert!(node.ports.proofs.redeem(proofs[0].expose(), scope()).await.unwrap());
    stand.clock.advance(Duration::from_secs(1));
    assert!(!node.ports.proofs.redeem(proofs[1].expose(), scope()).await.unwrap());
    assert_eq!(node.identity.clear().await.unwrap(), 0);
    stand.clock.advance(Duration::from_secs(1));
    assert_eq!(node.identity.clear().await.unwrap(), 1);
}
