//! Whom a provider means: linked once, for good.

use std::time::Duration;

use lotline_domain::identity::sign_on::ExternalSubject;
use lotline_domain::port::Clock;

use crate::stand::Stand;

fn subject(issuer: &str, subject: &str) -> ExternalSubject {
    ExternalSubject { issuer: issuer.into(), subject: subject.into() }
}

#[tokio::test]
async fn a_subject_is_one_user_and_a_user_one_subject_of_a_provider() {
    let stand = Stand::new().await;
    let (dairy, bakery) = (stand.node().await, stand.node_with(crate::stand::options("bakery")).await);
    let (subjects, one, other) = (&dairy.ports.subjects, stand.user(), stand.user());
    let (here, there) = (subject("https://a.example", "1"), subject("https://b.example", "1"));
    assert_eq!(subjects.find(&here).await.unwrap(), None);
    assert!(subjects.link(&here, one).await.unwrap());
    assert!(subjects.link(&here, one).await.unwrap(), "again");
    assert!(!subjects.link(&here, other).await.unwrap(), "somebody else");
    assert!(!subjects.link(&subject("https://a.example", "2"), one).await.unwrap(), "another subject");
    assert_eq!(subjects.find(&subject("https://a.example", "2")).await.unwrap(), None);
    assert!(subjects.link(&there, other).await.unwrap(), "the same subject of another provider");
    assert_eq!(subjects.find(&here).await.unwrap(), Some(one));
    assert_eq!(bakery.ports.subjects.find(&here).await.unwrap(), None);
    dairy.ports.names.forget(one).await.unwrap();
    assert_eq!(subjects.find(&here).await.unwrap(), None);
    assert_eq!(subjects.find(&there).await.unwrap(), Some(other));
}

#[tokio::test]
async fn a_way_back_is_used_once_on_any_node() {
    let stand = Stand::new().await;
    let (one, other) = (stand.node().await, stand.node().await);
    let until = stand.clock.now().plus_micros(600_000_000);
    assert!(one.ports.subjects.use_up([1; 32], until).await.unwrap());
    assert!(!other.ports.subjects.use_up([1; 32], until).await.unwrap());
    assert!(other.ports.subjects.use_up([2; 32], until).await.unwrap());
    assert_eq!(one.identity.clear().await.unwrap(), 0);
    stand.clock.advance(Duration::from_secs(601));
    assert_eq!(one.identity.clear().await.unwrap(), 2);
}
