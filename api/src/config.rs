//! What a client may ask of the server: sizes, counts and times, each with a default that the demo never reaches.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits of the API. Every one answers with a precise error of its own; none of them ends the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest HTTP body and WebSocket message, in bytes.
    pub body_bytes: usize,
    /// Longest GraphQL document, in bytes.
    pub document_bytes: usize,
    /// Most tokens of a document: names, numbers, texts and punctuation; commas and comments are free.
    pub document_tokens: usize,
    /// Deepest nesting of selections, counted without introspection.
    pub depth: usize,
    /// Most aliases of a document.
    pub aliases: usize,
    /// Most directives of a document.
    pub directives: usize,
    /// Most fields after fragments have been put in place.
    pub selections: usize,
    /// Highest cost of an operation: one per field, times the page size of the lists around it.
    pub cost: usize,
    /// Longest time to receive a request body, in milliseconds.
    pub body_timeout_ms: u64,
    /// Longest execution of a query or mutation, in milliseconds.
    pub request_timeout_ms: u64,
    /// Longest that a query may wait for its read models to reach `consistentWith`, in milliseconds.
    pub consistency_timeout_ms: u64,
    /// Requests within an hour of the whole workspace, on this node: GraphQL operations and calls of `/api/v1`. 0: no limit. Infinite in
    /// development mode.
    pub requests_per_hour: u32,
    /// The same of each user and each API key.
    pub requests_per_hour_by_actor: u32,
    /// API keys, one-time links and refresh tokens that nobody has, from one address within five minutes, on this node; from one /64 of IPv6.
    /// 0: no limit.
    pub failed_look_ups_per_address: u32,
    /// Longest from the opening of a connection, or the end of its last request, to the end of the next request's headers, in milliseconds.
    /// TLS has the same time for its handshake.
    pub header_timeout_ms: u64,
    /// Connections of any kind at one time. Each takes a file handle.
    pub sockets: usize,
    /// The same from one address; from one /64 of IPv6. Behind a proxy all come from its address.
    pub sockets_per_address: usize,
    /// WebSockets and event streams open at one time. A WebSocket counts from its `connection_init` on.
    pub connections: usize,
    /// The same of each user and each API key. 0: no limit. Infinite in development mode.
    pub connections_per_actor: usize,
    /// WebSockets at one time on which nobody has said yet who they are. A further one takes the place of the one that has waited longest.
    pub newcomers: usize,
    /// The same from one address, from one /64 of IPv6, or of one user or key where the request has said whose it is.
    pub newcomers_per_address: usize,
    /// Operations running on one WebSocket at one time.
    pub operations_per_socket: usize,
    /// Time from opening a WebSocket to its `connection_init`, in milliseconds.
    pub connection_init_timeout_ms: u64,
    /// Time between two pings of the server on a WebSocket or event stream, in milliseconds. A socket that sent nothing since the
    /// last ping is closed.
    pub ping_interval_ms: u64,
    /// Longest that one message may take to be taken by a slow client before its connection is closed, in milliseconds.
    pub send_timeout_ms: u64,
    /// Most changes that a subscription reads from a table at one time.
    pub subscription_batch: u32,
    /// Whether error messages propose names that resemble a mistyped one. They reveal the schema; so does introspection.
    pub suggestions: bool,
    /// Whether clients may read the schema by introspection.
    pub introspection: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            document_bytes: 128 << 10,
            document_tokens: 15_000,
            depth: 12,
            aliases: 50,
            directives: 50,
            selections: 5_000,
            cost: 25_000,
            body_timeout_ms: 10_000,
            request_timeout_ms: 30_000,
            consistency_timeout_ms: 10_000,
            requests_per_hour: 5_000,
            requests_per_hour_by_actor: 5_000,
            failed_look_ups_per_address: 100,
            header_timeout_ms: 30_000,
            sockets: 4_096,
            sockets_per_address: 2_048,
            connections: 1_000,
            connections_per_actor: 200,
            newcomers: 200,
            newcomers_per_address: 100,
            operations_per_socket: 100,
            connection_init_timeout_ms: 3_000,
            ping_interval_ms: 15_000,
            send_timeout_ms: 10_000,
            subscription_batch: 256,
            suggestions: true,
            introspection: true,
        }
    }
}

impl Limits {
    /// See `body_timeout_ms`.
    pub fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    /// See `header_timeout_ms`.
    pub fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    /// The same without limits by name and by hour, for where everybody is believed: a name says nothing there.
    #[must_use]
    pub fn unmetered(self) -> Self {
        Self { requests_per_hour: 0, requests_per_hour_by_actor: 0, connections_per_actor: 0, ..self }
    }

    /// See `request_timeout_ms`.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// See `consistency_timeout_ms`.
    pub fn consistency_timeout(&self) -> Duration {
        Duration::from_millis(self.consistency_timeout_ms)
    }

    /// See `connection_init_timeout_ms`.
    pub fn connection_init_timeout(&self) -> Duration {
        Duration::from_millis(self.connection_init_timeout_ms)
    }

    /// See `ping_interval_ms`.
    pub fn ping_interval(&self) -> Duration {
        Duration::from_millis(self.ping_interval_ms)
    }

    /// See `send_timeout_ms`.
    pub fn send_timeout(&self) -> Duration {
        Duration::from_millis(self.send_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_and_missing_ones_have_defaults() {
        let limits: Limits = serde_json::from_str(r#"{"body_bytes": 10}"#).unwrap();
        assert_eq!(limits, Limits { body_bytes: 10, ..Limits::default() });
        assert!(serde_json::from_str::<Limits>(r#"{"body_byte": 10}"#).is_err());
    }
}
