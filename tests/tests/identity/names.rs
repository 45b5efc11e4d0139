//! Login names: one user each, and no address in the database.

use std::time::Duration;

use futures_util::future::join_all;
use lotline_domain::identity::port::{NameError, SignInError};

use crate::stand::{GOOD, Stand, address, login};

#[tokio::test]
async fn of_two_registrations_at_once_one_wins() {
    let stand = Stand::new().await;
    let (one, other) = (stand.node().await, stand.node().await);
    let name = login("ann@example.org");
    let users: Vec<_> = (0..8).map(|_| stand.user()).collect();
    let tries = users.iter().enumerate().map(|(number, user)| {
        let node = if number % 2 == 0 { &one } else { &other };
        node.ports.names.reserve(&name, *user)
    });
    let done = join_all(tries).await;
    let winners: Vec<_> = done.iter().zip(&users).filter(|(done, _)| done.is_ok()).collect();
    assert_eq!(winners.len(), 1, "{done:?}");
    assert!(done.iter().all(|done| !matches!(done, Err(NameError::Store(_)))));
    let winner = *winners[0].1;
    assert_eq!(one.ports.names.find(&name).await.unwrap(), None, "not before it is confirmed");
    for user in users.iter().filter(|user| **user != winner) {
        assert!(matches!(one.ports.names.confirm(&name, *user).await, Err(NameError::Taken)));
        one.ports.names.release(&name, *user).await.unwrap();
    }
    other.ports.names.reserve(&name, winner).await.unwrap();
    other.ports.names.confirm(&name, winner).await.unwrap();
    other.ports.names.confirm(&name, winner).await.unwrap();
    assert_eq!(one.ports.names.find(&name).await.unwrap(), Some(winner));
}

#[tokio::test]
async fn a_reservation_is_released_or_runs_out_and_a_confirmed_name_stays() {
    let stand = Stand::new().await;
    let names = stand.node().await.ports.names;
    let (ann, bob, name) = (stand.user(), stand.user(), login("ann@example.org"));
    names.reserve(&name, ann).await.unwrap();
    names.release(&name, ann).await.unwrap();
    names.reserve(&name, bob).await.unwrap();
    stand.clock.advance(Duration::from_secs(599));
    assert!(matches!(names.reserve(&name, ann).await, Err(NameError::Taken)));
    stand.clock.advance(Duration::from_secs(1));
    names.reserve(&name, ann).await.unwrap();
    assert!(matches!(names.confirm(&name, bob).await, Err(NameError::Taken)), "lost meanwhile");
    stand.clock.advance(Duration::from_hours(1));
    names.confirm(&name, ann).await.unwrap();
    names.release(&name, ann).await.unwrap();
    stand.clock.advance(Duration::from_hours(1));
    assert!(matches!(names.reserve(&name, bob).await, Err(NameError::Taken)));
    assert_eq!(names.find(&name).await.unwrap(), Some(ann));
}

#[tokio::test]
async fn another_name_takes_the_place_of_the_first() {
    let stand = Stand::new().await;
    let names = stand.node().await.ports.names;
    let (ann, bob) = (stand.user(), stand.user());
    let (first, second) = (login("ann@example.org"), login("ann@example.net"));
    names.reserve(&first, ann).await.unwrap();
    names.confirm(&first, ann).await.unwrap();
    names.reserve(&second, ann).await.unwrap();
    assert_eq!(names.find(&first).await.unwrap(), Some(ann), "until it is confirmed");
    names.confirm(&second, ann).await.unwrap();
    assert_eq!(names.find(&first).await.unwrap(), None);
    assert_eq!(names.find(&second).await.unwrap(), Some(ann));
    names.reserve(&first, bob).await.unwrap();
}

#[tokio::test]
async fn no_address_is_kept_and_tenants_can_not_be_compared() {
    let stand = Stand::new().await;
    let (dairy, bakery) = (stand.node().await, stand.node_with(crate::stand::options("bakery")).await);
    for node in [&dairy, &bakery] {
        stand.person(node, "Ann@Example.org").await;
    }
    let owner = &stand.postgres.database.pool;
    let rows: Vec<String> = sqlx::query_scalar("SELECT login::text FROM access.login").fetch_all(owner).await.unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(!row.contains("example") && !row.contains(&hex::encode("ann@example.org")), "{row}");
    }
    let names: i64 =
        sqlx::query_scalar("SELECT count(DISTINCT name) FROM access.login").fetch_one(owner).await.unwrap();
    assert_eq!(names, 2);
    let plain: Vec<u8> = {
        use sha2::Digest;
        sha2::Sha256::digest("ann@example.org").to_vec()
    };
    let found: i64 = sqlx::query_scalar("SELECT count(*) FROM access.login WHERE name = $1")
        .bind(plain)
        .fetch_one(owner)
        .await
        .unwrap();
    assert_eq!(found, 0, "a list of addresses can't be compared with it");
}

#[tokio::test]
async fn a_tenant_does_not_know_the_people_of_another() {
    let stand = Stand::new().await;
    let (dairy, bakery) = (stand.node().await, stand.node_with(crate::stand::options("bakery")).await);
    let user = stand.person(&dairy, "ann@example.org").await;
    assert_eq!(bakery.ports.names.find(&login("ann@example.org")).await.unwrap(), None);
    assert!(!bakery.ports.passwords.exists(user).await.unwrap());
    let refused = bakery.ports.passwords.sign_in("ann@example.org", GOOD, address(1)).await;
    assert!(matches!(refused, Err(SignInError::Wrong)));
    assert_eq!(dairy.ports.passwords.sign_in("ann@example.org", GOOD, address(1)).await.unwrap(), user);
}

#[tokio::test]
async fn a_user_can_be_forgotten() {
    let stand = Stand::new().await;
    let node = stand.node().await;
    let user = stand.person(&node, "ann@example.org").await;
    let tokens = node.ports.sessions.open(user, "test").await.unwrap();
    node.ports.names.forget(user).await.unwrap();
    assert!(node.ports.passwords.sign_in("ann@example.org", GOOD, address(1)).await.is_err());
    assert!(node.ports.sessions.refresh(tokens.refresh.expose()).await.is_err());
    assert_eq!(stand.count("SELECT count(*) FROM access.login").await, 0);
    assert_eq!(stand.count("SELECT count(*) FROM access.password").await, 0);
}
