//! The state machine of one connection. It owns no socket, no clock and no tasks, so each rule is tested as text in, action out.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What the connection has to do next.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Nothing.
    Ignore,
    /// Send a message.
    Send(String),
    /// The client has introduced itself: take the payload, then answer with [`Protocol::acknowledge`].
    Introduce(Map<String, Value>),
    /// Begin an operation.
    Start {
        /// The client's name for it.
        id: String,
        /// GraphQL parameters.
        payload: Value,
    },
    /// The client wants no more of an operation.
    Stop(String),
    /// Close the socket.
    Close(Close),
}

/// A close code with its reason, at most 123 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// 4400 to 4499 as the protocol has them.
    pub code: u16,
    /// Human-readable.
    pub reason: String,
}

/// One connection.
#[derive(Debug, Default)]
pub struct Protocol {
    introduced: bool,
    acknowledged: bool,
    active: HashSet<String>,
    max_operations: usize,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Message {
    ConnectionInit {
        #[serde(default)]
        payload: Option<Map<String, Value>>,
    },
    Ping {
        #[serde(default)]
        payload: Option<Map<String, Value>>,
    },
    Pong {
        #[serde(default, rename = "payload")]
        _payload: Option<Map<String, Value>>,
    },
    Subscribe {
        id: String,
        payload: Value,
    },
    Complete {
        id: String,
    },
}

impl Close {
    /// Cuts the reason to what a close frame can carry.
    pub fn new(code: u16, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        let mut end = reason.len().min(123);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        Self { code, reason }
    }
}

impl Protocol {
    /// A fresh connection.
    pub fn new(max_operations: usize) -> Self {
        Self { max_operations, ..Self::default() }
    }

    /// Takes a text message.
    pub fn receive(&mut self, text: &str) -> Action {
        match serde_json::from_str::<Message>(text) {
            Err(error) => Action::Close(Close::new(4400, format!("Invalid message: {error}"))),
            Ok(Message::ConnectionInit { payload }) => {
                if std::mem::replace(&mut self.introduced, true) {
                    return Action::Close(Close::new(4429, "Too many initialisation requests"));
                }
                Action::Introduce(payload.unwrap_or_default())
            }
            Ok(Message::Ping { payload }) => Action::Send(pong(payload)),
            Ok(Message::Pong { .. }) => Action::Ignore,
            Ok(Message::Subscribe { id, payload }) => self.subscribe(id, payload),
            Ok(Message::Complete { id }) => {
                if self.active.remove(&id) {
                    Action::Stop(id)
                } else {
                    Action::Ignore
                }
            }
        }
    }

    fn subscribe(&mut self, id: String, payload: Value) -> Action {
        if !self.acknowledged {
            return Action::Close(Close::new(4401, "Unauthorized"));
        }
        if id.is_empty() {
            return Action::Close(Close::new(4400, "Invalid message: id is empty"));
        }
        if self.active.contains(&id) {
            return Action::Close(Close::new(4409, format!("Subscriber for {id} already exists")));
        }
        if self.active.len() >= self.max_operations {
            let message = format!("{} operations run on this socket already", self.max_operations);
            return Action::Send(error(
                &id,
                &json!([{ "message": message, "extensions": { "code": "TOO_MANY_OPERATIONS" } }]),
            ));
        }
        self.active.insert(id.clone());
        Action::Start { id, payload }
    }

    /// The client is who it says: operations may begin.
    pub fn acknowledge(&mut self) -> String {
        self.acknowledged = true;
        json!({ "type": "connection_ack" }).to_string()
    }

    /// Whether the client has introduced itself; if not in time, [`Protocol::late`] says how to close.
    pub fn is_introduced(&self) -> bool {
        self.introduced
    }

    /// The close of a connection whose `connection_init` did not come in time.
    pub fn late() -> Close {
        Close::new(4408, "Connection initialisation timeout")
    }

    /// A result. `response` is JSON.
    pub fn next(id: &str, response: &[u8]) -> String {
        let response = std::str::from_utf8(response).expect("invariant: JSON is UTF-8");
        format!(r#"{{"id":{},"type":"next","payload":{response}}}"#, Value::from(id))
    }

    /// The end of an operation that was executed.
    pub fn complete(&mut self, id: &str) -> String {
        self.active.remove(id);
        json!({ "id": id, "type": "complete" }).to_string()
    }

    /// The end of an operation that was refused before execution. `errors` is a JSON list.
    pub fn error(&mut self, id: &str, errors: &Value) -> String {
        self.active.remove(id);
        error(id, errors)
    }
}

fn error(id: &str, errors: &Value) -> String {
    json!({ "id": id, "type": "error", "payload": errors }).to_string()
}

fn pong(payload: Option<Map<String, Value>>) -> String {
    match payload {
        Some(payload) => json!({ "type": "pong", "payload": payload }).to_string(),
        None => json!({ "type": "pong" }).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Protocol {
        let mut protocol = Protocol::new(2);
        assert_eq!(protocol.receive(r#"{"type":"connection_init"}"#), Action::Introduce(Map::new()));
        assert_eq!(protocol.acknowledge(), r#"{"type":"connection_ack"}"#);
        protocol
    }

    fn subscribe(id: &str) -> String {
        json!({ "type": "subscribe", "id": id, "payload": { "query": "{a}" } }).to_string()
    }

    fn closes_with(action: &Action) -> u16 {
        let Action::Close(close) = action else { panic!("{action:?} does not close") };
        assert!(close.reason.len() <= 123);
        close.code
    }

    #[test]
    fn malformed_messages_close_with_4400() {
        let endless = "x".repeat(1_000);
        for text in [
            "",
            "x",
            "[]",
            "{}",
            r#"{"type":"start"}"#,
            r#"{"type":"subscribe"}"#,
            r#"{"type":"ping","payload":"x"}"#,
            r#"{"type":"connection_init","payload":1}"#,
            r#"{"type":"complete"}"#,
            &format!("{{\"type\":\"{endless}\"}}"),
        ] {
            assert_eq!(closes_with(&ready().receive(text)), 4400, "{text}");
        }
        assert_eq!(closes_with(&ready().receive(&subscribe(""))), 4400);
    }

    #[test]
    fn each_breach_has_its_code() {
        assert_eq!(closes_with(&Protocol::new(1).receive(&subscribe("1"))), 4401);
        assert_eq!(closes_with(&ready().receive(r#"{"type":"connection_init"}"#)), 4429);
        let mut protocol = ready();
        assert!(matches!(protocol.receive(&subscribe("1")), Action::Start { .. }));
        assert_eq!(closes_with(&protocol.receive(&subscribe("1"))), 4409);
        assert_eq!(Protocol::late().code, 4408);
    }

    #[test]
    fn ids_are_free_again_after_the_end() {
        let mut protocol = ready();
        for round in 0..3 {
            assert!(matches!(protocol.receive(&subscribe("1")), Action::Start { .. }), "round {round}");
            match round {
                0 => assert_eq!(protocol.receive(r#"{"type":"complete","id":"1"}"#), Action::Stop("1".to_owned())),
                1 => assert_eq!(protocol.complete("1"), r#"{"id":"1","type":"complete"}"#),
                _ => assert_eq!(protocol.error("1", &json!([])), r#"{"id":"1","payload":[],"type":"error"}"#),
            }
        }
        assert_eq!(protocol.receive(r#"{"type":"complete","id":"1"}"#), Action::Ignore);
    }

    #[test]
    fn too_many_operations_fail_alone() {
        let mut protocol = ready();
        assert!(matches!(protocol.receive(&subscribe("1")), Action::Start { .. }));
        assert!(matches!(protocol.receive(&subscribe("2")), Action::Start { .. }));
        let Action::Send(text) = protocol.receive(&subscribe("3")) else { panic!("the third is refused") };
        assert!(text.contains("TOO_MANY_OPERATIONS") && text.contains(r#""id":"3""#), "{text}");
    }

    #[test]
    fn pings_are_answered_at_any_time() {
        let mut protocol = Protocol::new(1);
        assert_eq!(protocol.receive(r#"{"type":"ping"}"#), Action::Send(r#"{"type":"pong"}"#.to_owned()));
        let answer = Action::Send(r#"{"payload":{"a":1},"type":"pong"}"#.to_owned());
        assert_eq!(protocol.receive(r#"{"type":"ping","payload":{"a":1}}"#), answer);
        assert_eq!(protocol.receive(r#"{"type":"pong"}"#), Action::Ignore);
    }

    #[test]
    fn results_quote_their_id() {
        assert_eq!(Protocol::next("a\"b", br#"{"data":1}"#), r#"{"id":"a\"b","type":"next","payload":{"data":1}}"#);
        assert_eq!(Close::new(4400, "é".repeat(100)).reason.len(), 122);
    }
}
