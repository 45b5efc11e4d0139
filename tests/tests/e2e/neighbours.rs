//! Two tenants in one database. Whoever administers the one tries every root field with what belongs to the other: it is as if nobody had it.
//!
//! Each try is made twice, with a thing of the other tenant and with one that nobody has, and has to be answered in the same way. The list comes
//! from the schema that the server shows, so a field without tries fails.

mod questions;
mod things;
mod tries;

use std::time::Duration;

use lotline_tests::client::Client;
use lotline_tests::oracle::World;
use serde_json::{Value, json};

use crate::authority::fields;
use crate::site::SITE;
use crate::visitor::{ADMIN, Feed, House, PASSWORD};
use things::Things;
use tries::{Kind, Try, tries};

/// How long to look whether something is told that should not be.
const MOMENT: Duration = Duration::from_millis(500);

/// Both tenants, and what they have.
struct Street {
    house: House,
    other: House,
    ann: String,
    theirs: Things,
    nobodys: Things,
    own: Things,
}

impl Street {
    async fn new() -> Self {
        let (house, _) = House::with_sites("neighbours-own", &[SITE, "home"]).await;
        let (other, _) = house.beside("neighbours-wasp", &[SITE, "delta"]).await;
        let own = Things::of(&house, "own", "home", 1).await;
        let theirs = Things::of(&other, "wasp", "delta", 2).await;
        let (ann, nobodys) = (house.bearer(ADMIN).await, theirs.nobodys());
        Self { house, other, ann, theirs, nobodys, own }
    }

    fn tries(&self, root: &str, field: &str) -> Vec<(Try, Try)> {
        let (theirs, nobodys) =
            (tries(root, field, &self.theirs, &self.own), tries(root, field, &self.nobodys, &self.own));
        assert!(!theirs.is_empty(), "{root} {field} is not tried");
        theirs.into_iter().zip(nobodys).collect()
    }

    /// What was answered, and the same with the names of the things in place of what they are.
    async fn ask(&self, tried: &Try, things: &Things) -> (Value, String) {
        let answer = self.house.graphql(&[("authorization", &self.ann)], &tried.query, &tried.variables).await;
        assert_eq!(answer.status, 200, "{}: {}", tried.query, answer.body);
        assert_ne!(answer.code(), "INTERNAL", "{}: {}", tried.query, answer.body);
        let named = things.named(&answer.body.to_string());
        (answer.body, named)
    }

    /// Queries, or mutations.
    async fn ask_all(&self, root: &str, fields: &[(&str, String)]) -> Vec<String> {
        let mut wrong = Vec::new();
        for (_, field) in fields.iter().filter(|(of, _)| *of == root) {
            for (theirs, nobodys) in self.tries(root, field) {
                let (mut answer, named) = self.ask(&theirs, &self.theirs).await;
                if theirs.kind == Kind::AsNobodys {
                    let expected;
                    (answer, expected) = self.ask(&nobodys, &self.nobodys).await;
                    if named != expected {
                        wrong.push(format!("{} {}: {named}\n  not {expected}", theirs.query, theirs.variables));
                    }
                }
                // What was typed may be said again, so it is looked at what was answered to who has typed nothing of theirs.
                wrong.extend(self.leaked(&theirs.query, &answer["data"].to_string()));
            }
        }
        wrong
    }

    async fn follow_all(&self, fields: &[(&str, String)]) -> Vec<String> {
        let mut open = Vec::new();
        for (_, field) in fields.iter().filter(|(of, _)| *of == "subscription") {
            for (theirs, nobodys) in self.tries("subscription", field) {
                let feed = self.house.follow(&self.ann, &theirs.query).await;
                let twin = match theirs.kind {
                    Kind::AsNobodys => Some(self.house.follow(&self.ann, &nobodys.query).await),
                    Kind::OwnOnly | Kind::Told => None,
                };
                open.push((theirs, feed, twin));
            }
        }
        self.theirs.change(&self.other).await;
        self.own.change(&self.house).await;
        let mut wrong = Vec::new();
        for (tried, mut feed, twin) in open {
            let mut told = Vec::new();
            if tried.kind == Kind::Told {
                // What comes is the change of this tenant, which was made last.
                told.extend(feed.next().await);
            }
            told.extend(rest(&mut feed).await);
            let mut shown = format!("{told:?}");
            if let Some(mut twin) = twin {
                let named = self.theirs.named(&shown);
                shown = format!("{:?}", rest(&mut twin).await);
                let expected = self.nobodys.named(&shown);
                if named != expected {
                    wrong.push(format!("{}: {named}\n  not {expected}", tried.query));
                }
            }
            wrong.extend(self.leaked(&tried.query, &shown));
        }
        wrong
    }

    fn leaked(&self, query: &str, shown: &str) -> Option<String> {
        let mark = self.theirs.marks().find(|mark| shown.contains(*mark))?;
        Some(format!("{query}: {mark} in {shown}"))
    }

    /// All that the other tenant has.
    async fn what_they_have(&self) -> World {
        let judge = Client::new(&self.other.server.url, "judge");
        self.other.plant.assert_tables_equal_the_log(&judge).await.world
    }
}

/// What comes on a feed until it is quiet, or over.
async fn rest(feed: &mut Feed) -> Vec<Value> {
    let mut told = Vec::new();
    while let Ok(Some(item)) = tokio::time::timeout(MOMENT, feed.next()).await {
        told.push(item);
    }
    told
}

#[tokio::test]
async fn what_another_tenant_has_nobody_has_here() {
    let street = Street::new().await;
    let fields = fields(&street.house, &street.ann).await;
    // In this order: what is tried later would show in what is tried first.
    let mut wrong = street.ask_all("query", &fields).await;
    wrong.extend(street.follow_all(&fields).await);
    let before = street.what_they_have().await;
    wrong.extend(street.ask_all("mutation", &fields).await);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(street.what_they_have().await, before, "nothing of theirs has changed, and no event was added");
}

#[tokio::test]
async fn what_opens_the_door_of_another_tenant_opens_no_other() {
    let street = Street::new().await;
    let Street { house, other, theirs, .. } = &street;
    let signed_in = other.sign_in(ADMIN, false).await;
    let bearer = crate::visitor::bearer(&signed_in);
    for (name, text, code) in [
        ("authorization", bearer.as_str(), "INVALID_TOKEN"),
        ("authorization", &format!("Bearer {}", theirs["secret"]), "INVALID_API_KEY"),
        ("x-api-key", &theirs["secret"], "INVALID_API_KEY"),
    ] {
        house.graphql(&[(name, text)], "{ tenant }", &json!({})).await.is(401, code);
        other.until(&[(name, text)], 200).await;
    }
    let refresh = json!({ "refreshToken": signed_in.body["refreshToken"] });
    house.post("refresh", &[], &refresh).await.is(401, "REFRESH_REFUSED");
    assert_eq!(other.post("refresh", &[], &refresh).await.status, 200, "it was not used up");
    let link = json!({ "link": theirs["link"], "password": PASSWORD });
    house.post("password", &[], &link).await.is(410, "LINK_REFUSED");
    assert_eq!(other.post("password", &[], &link).await.status, 204, "nor was the link");
    let person = json!({ "email": theirs["email"], "password": PASSWORD });
    house.post("sign-in", &[], &person).await.is(401, "SIGN_IN_REFUSED");
    assert_eq!(other.post("sign-in", &[], &person).await.status, 200);
}
