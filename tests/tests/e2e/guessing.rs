//! What somebody who tries addresses and passwords learns over HTTP: not which addresses are known, by no byte and by no time.

use std::net::{IpAddr, Ipv4Addr};

use lotline_tests::timing::{ROUNDS, alike, least, timed};
use reqwest::header::{CONTENT_LENGTH, DATE, HeaderMap};
use serde_json::{Value, json};

use crate::visitor::{ADMIN, Answer, House, PASSWORD};

const WRONG: &str = "nine goats on the roof";
/// Once more, and a name would be locked.
const TRIES: usize = 4;
/// Whoever pays for Argon2 takes at least so many times as long as who is refused before it.
const DEAR: u32 = 3;

/// Somebody at an address of their own: after thirty failures from one it is turned away.
struct Guesser {
    http: reqwest::Client,
    url: String,
}

impl Guesser {
    fn new(house: &House, number: usize) -> Self {
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, 1, number as u8));
        let http = reqwest::Client::builder().local_address(from).no_proxy().build().unwrap();
        Self { http, url: format!("{}/api/v1/auth/sign-in", house.server.url) }
    }

    async fn tries(&self, body: &Value) -> Answer {
        let answer = self.http.post(&self.url).json(body).send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, body: answer.json().await.unwrap() }
    }
}

/// An answer without what differs between any two: when it was written, and what it is called in logs.
fn comparable(answer: Answer) -> (u16, HeaderMap, Value) {
    let Answer { status, mut headers, body } = answer;
    for own in [DATE.as_str(), "x-correlation-id", "traceresponse"] {
        headers.remove(own);
    }
    assert!(headers.contains_key(CONTENT_LENGTH), "{headers:?}");
    (status, headers, body)
}

/// Somebody who has been invited and has set no password yet.
async fn invited(house: &House, ann: &str, email: &str) {
    let input = json!({ "email": email, "name": "Olga Ek" });
    let payload = house.mutate(ann, "inviteUser", "subjectId secret", &input).await;
    assert!(payload["secret"].is_string(), "{payload}");
}

#[tokio::test]
async fn no_answer_tells_which_addresses_are_known() {
    let (house, _) = House::with_admin("guessing").await;
    let ann = house.bearer(ADMIN).await;
    let mut times = [const { Vec::new() }; 4];
    for round in 0..ROUNDS {
        let name = |kind: &str| format!("{kind}{round}@dairy.example");
        let names = ["known", "unknown", "invited"].map(name);
        invited(&house, &ann, &names[2]).await;
        let known = house.mutate(&ann, "inviteUser", "secret", &json!({ "email": names[0], "name": "Vic" })).await;
        let set = house.post("password", &[], &json!({ "link": known["secret"], "password": PASSWORD })).await;
        assert_eq!(set.status, 204, "{}", set.body);

        let guesser = Guesser::new(&house, 1 + round);
        for _ in 0..TRIES {
            let mut answers = Vec::new();
            for (times, name) in times.iter_mut().zip(&names) {
                let (time, answer) = timed(guesser.tries(&json!({ "email": name, "password": WRONG }))).await;
                times.push(time);
                answer.is(401, "SIGN_IN_REFUSED");
                answers.push(comparable(answer));
            }
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
            // This one is refused before any password is looked at.
            let (time, answer) = timed(guesser.tries(&json!({ "email": names[0] }))).await;
            times[3].push(time);
            answer.is(400, "INVALID_BODY");
        }
        let [known, unknown, invited, cheap] = &times;
        let dear = [known, unknown, invited].iter().all(|kind| least(kind) >= least(cheap) * DEAR);
        if dear && alike(unknown, known) && alike(invited, known) {
            return;
        }
    }
    panic!("known, unknown, invited, not looked at: {times:?}");
}
