//! Signing in with a password, and trying to.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lotline_adapters::identity::{Hasher, HasherOptions, IdentityOptions};
use lotline_domain::identity::lockout::AddressLimit;
use lotline_domain::identity::password::Weakness;
use lotline_domain::identity::port::{PasswordError, SignInError};
use lotline_domain::port::Clock;
use lotline_tests::timing::{ROUNDS, alike, timed};

use crate::stand::{GOOD, OTHER, Stand, WRONG, address, hasher};

const NAME: &str = "ann@example.org";
const FAILURES: &str = "SELECT COALESCE(sum(failures), 0)::bigint FROM access.strikes";

#[tokio::test]
async fn the_right_password_signs_in_and_nothing_else_does() {
    let stand = Stand::new().await;
    let node = stand.node().await;
    let user = stand.person(&node, NAME).await;
    let passwords = &node.ports.passwords;
    assert_eq!(passwords.sign_in(" ANN@example.org", GOOD, address(1)).await.unwrap(), user);
    for (name, password) in
        [(NAME, WRONG), (NAME, ""), ("bob@example.org", GOOD), ("", ""), (NAME, "seven cows in the fo")]
    {
        let refused = passwords.sign_in(name, password, address(1)).await;
        assert!(matches!(refused, Err(SignInError::Wrong)), "{name} {password}");
    }
    passwords.set(user, OTHER, &[]).await.unwrap();
    assert!(passwords.sign_in(NAME, GOOD, address(1)).await.is_err());
    assert_eq!(passwords.sign_in(NAME, OTHER, address(1)).await.unwrap(), user);
}

/// Whoever measures how long an answer takes must not learn which names exist: the same hash is worked out once for each.
#[tokio::test]
async fn a_name_that_nobody_has_costs_the_same_work() {
    let stand = Stand::new().await;
    let node = stand.node().await;
    stand.person(&node, NAME).await;
    let (bob, name) = (stand.user(), crate::stand::login("bob@example.org"));
    node.ports.names.reserve(&name, bob).await.unwrap();
    node.ports.names.confirm(&name, bob).await.unwrap();
    let long = "x".repeat(1 << 20);
    let cases = [
        (NAME, WRONG, "wrong password"),
        ("bob@example.org", WRONG, "no password"),
        ("eve@example.org", WRONG, "nobody"),
        ("no name at all", WRONG, "not even a name"),
        (NAME, long.as_str(), "a mebibyte"),
    ];
    for (name, password, case) in cases {
        let (before, strikes) = (node.hasher.done(), stand.count(FAILURES).await);
        assert!(
            matches!(node.ports.passwords.sign_in(name, password, address(1)).await, Err(SignInError::Wrong)),
            "{case}"
        );
        assert_eq!(node.hasher.done() - before, 1, "{case}");
        assert_eq!(stand.count(FAILURES).await - strikes, 1, "{case}");
    }
}

#[tokio::test]
async fn wrong_passwords_lock_a_name_whether_it_exists_or_not() {
    let stand = Stand::new().await;
    let (one, other) = (stand.node().await, stand.node().await);
    let user = stand.person(&one, NAME).await;
    let mut locks = Vec::new();
    for name in [NAME, "nobody@example.org"] {
        for failure in 0..5 {
            let node = if failure % 2 == 0 { &one } else { &other };
            assert!(matches!(node.ports.passwords.sign_in(name, WRONG, address(1)).await, Err(SignInError::Wrong)));
        }
        let work = one.hasher.done();
        let Err(SignInError::Locked { until }) = one.ports.passwords.sign_in(name, GOOD, address(2)).await else {
            panic!("{name} is not locked")
        };
        assert_eq!(one.hasher.done(), work, "no password is looked at");
        locks.push(until);
    }
    assert_eq!(locks, [stand.clock.now().plus_micros(1_000_000); 2], "the same for both");
    stand.clock.advance(Duration::from_secs(1));
    assert!(matches!(other.ports.passwords.sign_in(NAME, WRONG, address(1)).await, Err(SignInError::Wrong)));
    stand.clock.advance(Duration::from_secs(1));
    assert!(
        matches!(other.ports.passwords.sign_in(NAME, GOOD, address(1)).await, Err(SignInError::Locked { .. })),
        "twice as long"
    );
    stand.clock.advance(Duration::from_secs(1));
    assert_eq!(other.ports.passwords.sign_in(NAME, GOOD, address(1)).await.unwrap(), user);
    for _ in 0..4 {
        assert!(
            matches!(one.ports.passwords.sign_in(NAME, WRONG, address(1)).await, Err(SignInError::Wrong)),
            "forgiven"
        );
    }
}

/// Otherwise all of a thousand tries at the same moment would find the name unlocked.
#[tokio::test]
async fn tries_at_the_same_moment_are_all_counted() {
    let stand = Stand::new().await;
    let (one, other) = (stand.node().await, stand.node().await);
    stand.person(&one, NAME).await;
    let before = one.hasher.done() + other.hasher.done();
    let tries = (0..24_u8).map(|number| {
        let node = if number % 2 == 0 { &one } else { &other };
        node.ports.passwords.sign_in(NAME, WRONG, address(number))
    });
    let done = join_all(tries).await;
    assert_eq!(done.iter().filter(|done| matches!(done, Err(SignInError::Wrong))).count(), 5, "{done:?}");
    assert_eq!(done.iter().filter(|done| matches!(done, Err(SignInError::Locked { .. }))).count(), 19);
    assert_eq!(one.hasher.done() + other.hasher.done() - before, 5);
}

#[tokio::test]
async fn an_address_that_tries_many_names_is_turned_away() {
    let stand = Stand::new().await;
    let mut options = crate::stand::options("dairy");
    options.addresses = AddressLimit { failures: 3, window: Duration::from_mins(5) };
    let node = stand.node_with(options).await;
    let user = stand.person(&node, NAME).await;
    for number in 0..3 {
        let name = format!("guess{number}@example.org");
        assert!(matches!(node.ports.passwords.sign_in(&name, GOOD, address(1)).await, Err(SignInError::Wrong)));
    }
    let work = node.hasher.done();
    let refused = node.ports.passwords.sign_in(NAME, GOOD, address(1)).await;
    assert!(matches!(refused, Err(SignInError::Throttled { .. })), "{refused:?}");
    assert_eq!(node.hasher.done(), work);
    for _ in 0..5 {
        let signed_in = node.ports.passwords.sign_in(NAME, GOOD, address(2)).await;
        assert_eq!(signed_in.unwrap(), user, "others, and who is right, are not");
    }
}

#[tokio::test]
async fn who_is_turned_away_by_a_busy_server_is_not_charged() {
    let stand = Stand::new().await;
    let mut options = crate::stand::options("dairy");
    let one_at_a_time =
        HasherOptions { memory_kib: 8, passes: 1, at_once: 1, waiting: 0, patience: Duration::from_secs(30) };
    options.hasher = Arc::new(Hasher::new(&one_at_a_time).unwrap());
    let node = stand.node_with(options).await;
    stand.person(&node, NAME).await;
    let done = join_all((0..8).map(|_| node.ports.passwords.sign_in(NAME, WRONG, address(1)))).await;
    let wrong = done.iter().filter(|done| matches!(done, Err(SignInError::Wrong))).count();
    let busy = done.iter().filter(|done| matches!(done, Err(SignInError::Busy))).count();
    assert!(busy > 0 && wrong > 0 && busy + wrong == 8, "{done:?}");
    assert_eq!(stand.count(FAILURES).await, wrong as i64);
}

#[tokio::test]
async fn a_hash_grows_with_its_parameters_at_the_next_sign_in() {
    let stand = Stand::new().await;
    let cheap = stand.node().await;
    let user = stand.person(&cheap, NAME).await;
    let mut options = crate::stand::options("dairy");
    options.hasher = hasher(64);
    let dear = stand.node_with(options).await;
    let phc = || async {
        sqlx::query_scalar::<_, String>("SELECT phc FROM access.password")
            .fetch_one(&stand.postgres.pool)
            .await
            .unwrap()
    };
    assert!(phc().await.starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
    assert!(dear.ports.passwords.sign_in(NAME, WRONG, address(1)).await.is_err());
    assert!(phc().await.starts_with("$argon2id$v=19$m=8,"), "a wrong password changes nothing");
    assert_eq!(dear.ports.passwords.sign_in(NAME, GOOD, address(1)).await.unwrap(), user);
    let grown = phc().await;
    assert!(grown.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{grown}");
    for node in [&cheap, &dear] {
        assert_eq!(node.ports.passwords.sign_in(NAME, GOOD, address(1)).await.unwrap(), user);
    }
    assert_eq!(phc().await, grown, "it does not shrink again");
}

/// Else who measures would learn, after parameters were raised, who is known and has not signed in since.
#[tokio::test]
async fn an_old_hash_takes_as_long_as_a_new_one_and_as_nobodys() {
    let stand = Stand::new().await;
    let with = |memory_kib, passes| {
        let options = HasherOptions { memory_kib, passes, ..HasherOptions::default() };
        let hasher = Arc::new(Hasher::new(&options).unwrap());
        stand.node_with(IdentityOptions { hasher, ..crate::stand::options("dairy") })
    };
    let (before, today) = (with(1_024, 1).await, with(4_096, 8).await);
    let mut times = [const { Vec::new() }; 4];
    for round in 0..ROUNDS {
        let name = |kind: &str| format!("{kind}{round}@example.org");
        let names = ["old", "new", "nobody", "invited"].map(name);
        stand.person(&before, &names[0]).await;
        stand.person(&today, &names[1]).await;
        let (bob, login) = (stand.user(), crate::stand::login(&names[3]));
        today.ports.names.reserve(&login, bob).await.unwrap();
        today.ports.names.confirm(&login, bob).await.unwrap();
        // Once more, and the name would be locked.
        for turn in 0..4 {
            let from = address(10 * (1 + round as u8) + turn);
            for (times, name) in times.iter_mut().zip(&names) {
                let (time, refused) = timed(today.ports.passwords.sign_in(name, WRONG, from)).await;
                assert!(matches!(refused, Err(SignInError::Wrong)), "{name}: {refused:?}");
                times.push(time);
            }
        }
        if times.iter().all(|kind| alike(kind, &times[1])) {
            return;
        }
    }
    panic!("old, new, nobody, invited: {times:?}");
}

#[tokio::test]
async fn a_person_proves_again_who_they_are() {
    let stand = Stand::new().await;
    let node = stand.node().await;
    let user = stand.person(&node, NAME).await;
    node.ports.passwords.confirm(user, GOOD, address(1)).await.unwrap();
    for _ in 0..5 {
        assert!(matches!(node.ports.passwords.confirm(user, WRONG, address(1)).await, Err(SignInError::Wrong)));
    }
    assert!(matches!(node.ports.passwords.confirm(user, GOOD, address(1)).await, Err(SignInError::Locked { .. })));
    let signing_in = node.ports.passwords.sign_in(NAME, GOOD, address(1)).await;
    assert!(matches!(signing_in, Err(SignInError::Locked { .. })), "counted together with signing in");
    assert!(matches!(node.ports.passwords.confirm(stand.user(), GOOD, address(1)).await, Err(SignInError::Wrong)));
}

#[tokio::test]
async fn a_weak_password_is_not_set() {
    let stand = Stand::new().await;
    let node = stand.node().await;
    let user = stand.person(&node, NAME).await;
    for (password, why) in
        [("short", Weakness::Short), ("password1234", Weakness::Common), ("milk for anntje", Weakness::Personal)]
    {
        let refused = node.ports.passwords.set(user, password, &["Anntje"]).await;
        assert!(matches!(refused, Err(PasswordError::Weak(weak)) if weak == why), "{password}");
    }
    assert_eq!(node.ports.passwords.sign_in(NAME, GOOD, address(1)).await.unwrap(), user);
}
