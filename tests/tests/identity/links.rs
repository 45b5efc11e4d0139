//! One-time links.

use std::time::Duration;

use futures_util::future::join_all;
use lotline_domain::identity::port::{LinkError, LinkPurpose, LinkRefusal, PasswordError, SignInError};
use lotline_domain::identity::token::TokenRefusal;

use crate::stand::{GOOD, OTHER, Stand, WRONG, address, login};

use LinkPurpose::{Invitation, PasswordReset, Setup};

fn refusal<T: std::fmt::Debug>(answer: Result<T, LinkError>) -> LinkRefusal {
    match answer.unwrap_err() {
        LinkError::Refused(refusal) => refusal,
        LinkError::Store(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_link_used_twice_at_once_gives_one_user() {
    let stand = Stand::new().await;
    let (one, other) = (stand.node().await, stand.node().await);
    let user = stand.user();
    let link = one.ports.links.issue(Invitation, user).await.unwrap().token;
    assert_eq!(other.ports.links.look(Invitation, link.expose()).await.unwrap(), user);
    let uses = (0..8).map(|number| {
        let node = if number % 2 == 0 { &one } else { &other };
        node.ports.links.redeem(Invitation, link.expose())
    });
    let done = join_all(uses).await;
    let (won, lost): (Vec<_>, Vec<_>) = done.into_iter().partition(Result::is_ok);
    assert_eq!(won.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [user]);
    assert!(lost.into_iter().all(|lost| refusal(lost) == LinkRefusal::Used));
    assert_eq!(refusal(one.ports.links.look(Invitation, link.expose()).await), LinkRefusal::Used);
}

#[tokio::test]
async fn a_link_is_good_for_its_purpose_in_its_time_at_its_tenant() {
    let stand = Stand::new().await;
    let (dairy, bakery) = (stand.node().await, stand.node_with(crate::stand::options("bakery")).await);
    let links = &dairy.ports.links;
    let issued = links.issue(PasswordReset, stand.user()).await.unwrap();
    let link = issued.token.expose();
    for purpose in [Setup, Invitation] {
        assert_eq!(refusal(links.redeem(purpose, link).await), LinkRefusal::Unknown);
    }
    assert_eq!(refusal(bakery.ports.links.redeem(PasswordReset, link).await), LinkRefusal::Unknown);
    for text in ["", "lotline_link_", &link.to_uppercase(), &link[..link.len() - 1], "' OR used_at IS NULL --"] {
        assert_eq!(refusal(links.redeem(PasswordReset, text).await), LinkRefusal::Unknown, "{text}");
    }
    stand.clock.advance(Duration::from_mins(30));
    assert_eq!(refusal(links.look(PasswordReset, link).await), LinkRefusal::Expired);
    assert_eq!(refusal(links.redeem(PasswordReset, link).await), LinkRefusal::Expired);
    let kept = stand.count("SELECT count(*) FROM access.link WHERE link::text LIKE '%lotline_link_%'").await;
    assert_eq!(kept, 0, "only its digest is kept");
}

#[tokio::test]
async fn a_new_link_withdraws_the_one_before() {
    let stand = Stand::new().await;
    let node = stand.node().await;
    let links = &node.ports.links;
    let (ann, bob) = (stand.user(), stand.user());
    let first = links.issue(Invitation, ann).await.unwrap().token;
    let of_bob = links.issue(Invitation, bob).await.unwrap().token;
    let second = links.issue(Invitation, ann).await.unwrap().token;
    assert_eq!(refusal(links.redeem(Invitation, first.expose()).await), LinkRefusal::Unknown);
    assert_eq!(links.redeem(Invitation, second.expose()).await.unwrap(), ann);
    assert_eq!(links.redeem(Invitation, of_bob.expose()).await.unwrap(), bob);
    let setup = links.issue(Setup, ann).await.unwrap().token;
    let again = links.issue(Setup, bob).await.unwrap().token;
    assert_eq!(
        refusal(links.look(Setup, setup.expose()).await),
        LinkRefusal::Unknown,
        "a tenant has one first administrator"
    );
    assert_eq!(links.look(Setup, again.expose()).await.unwrap(), bob);
}

/// The first administrator: a link for somebody who is not registered yet.
#[tokio::test]
async fn the_first_administrator_chooses_a_password_by_a_link() {
    let stand = Stand::new().await;
    let node = stand.node().await;
    let (user, name) = (stand.user(), login("ann@example.org"));
    let link = node.ports.links.issue(Setup, user).await.unwrap().token;
    let weak = node.ports.passwords.set_by_link(link.expose(), Setup, "short", &[]).await;
    assert!(matches!(weak, Err(PasswordError::Weak(_))));
    node.ports.names.reserve(&name, user).await.unwrap();
    let set = node.ports.passwords.set_by_link(link.expose(), Setup, GOOD, &[name.as_str()]).await;
    assert_eq!(set.unwrap(), user, "a weak password had not used it up");
    assert!(
        node.ports.passwords.sign_in(name.as_str(), GOOD, address(1)).await.is_err(),
        "not before the name is confirmed"
    );
    node.ports.names.confirm(&name, user).await.unwrap();
    assert_eq!(node.ports.passwords.sign_in(name.as_str(), GOOD, address(1)).await.unwrap(), user);
    let again = node.ports.passwords.set_by_link(link.expose(), Setup, OTHER, &[]).await;
    assert!(matches!(again, Err(PasswordError::Link(LinkRefusal::Used))));
}

#[tokio::test]
async fn a_reset_ends_sessions_and_forgives_failures_and_withdraws_other_links() {
    let stand = Stand::new().await;
    let node = stand.node().await;
    let user = stand.person(&node, "ann@example.org").await;
    let bystander = stand.person(&node, "bob@example.org").await;
    let tokens = node.ports.sessions.open(user, "lost phone").await.unwrap();
    let of_bystander = node.ports.sessions.open(bystander, "desk").await.unwrap();
    for _ in 0..5 {
        let tried = node.ports.passwords.sign_in("ann@example.org", WRONG, address(1)).await;
        assert!(matches!(tried, Err(SignInError::Wrong)));
    }
    let reset = node.ports.links.issue(PasswordReset, user).await.unwrap().token;
    let invitation = node.ports.links.issue(Invitation, user).await.unwrap().token;
    node.ports.passwords.set_by_link(reset.expose(), PasswordReset, OTHER, &[]).await.unwrap();
    assert_eq!(node.ports.tokens.verify(&tokens.access).unwrap_err(), TokenRefusal::SessionEnded);
    node.ports.tokens.verify(&of_bystander.access).unwrap();
    assert_eq!(refusal(node.ports.links.look(Invitation, invitation.expose()).await), LinkRefusal::Unknown);
    assert_eq!(node.ports.passwords.sign_in("ann@example.org", OTHER, address(1)).await.unwrap(), user);
    assert_eq!(node.ports.passwords.sign_in("bob@example.org", GOOD, address(1)).await.unwrap(), bystander);
}

#[tokio::test]
async fn of_two_passwords_by_one_link_one_is_set() {
    let stand = Stand::new().await;
    let (one, other) = (stand.node().await, stand.node().await);
    let user = stand.person(&one, "ann@example.org").await;
    let link = one.ports.links.issue(PasswordReset, user).await.unwrap().token;
    let choices = ["first chosen words", "second chosen words"];
    let (first, second) = tokio::join!(
        one.ports.passwords.set_by_link(link.expose(), PasswordReset, choices[0], &[]),
        other.ports.passwords.set_by_link(link.expose(), PasswordReset, choices[1], &[]),
    );
    let set: Vec<_> =
        [first, second].iter().zip(choices).filter(|(set, _)| set.is_ok()).map(|(_, choice)| choice).collect();
    assert_eq!(set.len(), 1);
    for choice in choices {
        let signed_in = one.ports.passwords.sign_in("ann@example.org", choice, address(1)).await;
        assert_eq!(signed_in.is_ok(), choice == set[0], "{choice}");
    }
}

#[tokio::test]
async fn who_has_no_good_link_costs_no_hash() {
    let stand = Stand::new().await;
    let node = stand.node().await;
    let before = node.hasher.done();
    let forged = format!("lotline_link_{}", "0".repeat(64));
    let refused = node.ports.passwords.set_by_link(&forged, Setup, GOOD, &[]).await;
    assert!(matches!(refused, Err(PasswordError::Link(LinkRefusal::Unknown))));
    assert_eq!(node.hasher.done(), before);
}
