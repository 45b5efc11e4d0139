//! The end of a process: in time, and honest about what did not stop.

use std::time::Duration;

use lotline_tests::client::{Client, lot};
use lotline_tests::server::{Log, Server};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::{self, Plant, SITE};

/// How a request begins.
const HEAD: &str =
    "POST /graphql HTTP/1.1\r\nhost: <host>\r\nx-lotline-actor: ann\r\ncontent-type: application/json\r\n";
/// Much longer than the server's own deadline.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn who_does_not_stop_in_time_is_named_and_the_exit_code_says_so() {
    let mut plant = Plant::new("unwilling", Log::Postgres).await;
    for limit in ["CONSISTENCY", "REQUEST"] {
        plant.settings.environment.push((format!("LOTLINE_API__LIMITS__{limit}_TIMEOUT_MS"), "3600000".into()));
    }
    let mut server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let told = ann.mutate("registerLot", "", &lot(SITE, "L-1", "10", &[])).await;

    // A query that waits for an event which never comes. Its request is answered before the server stops, or not at all.
    let never = site::token("l0.1000000000");
    let wait = format!("consistentWith: \"{never}\", consistencyTimeoutMs: 3600000");
    let query = json!({ "query": format!("{{ lots(first: 1, {wait}) {{ nodes {{ code }} }} }}") }).to_string();
    let mut waiting =
        said(&server, &format!("{HEAD}expect: 100-continue\r\ncontent-length: {}\r\n\r\n", query.len())).await;
    continued(&mut waiting).await;
    waiting.write_all(query.as_bytes()).await.unwrap();

    let status = server.ended(PATIENCE).await.unwrap_or_else(|| panic!("it does not end:\n{}", server.printed()));
    let printed = server.printed();
    assert_eq!(status.code(), Some(1), "{printed}");
    let last = printed.lines().last().unwrap_or_default();
    assert_eq!(last, "lotline: not stopped within 10 s and left behind: the HTTP server", "{printed}");
    drop(waiting);

    let mut server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    assert_eq!(site::lot(&ann, "L-1", &told["position"]).await["code"], "L-1", "what was acknowledged is there");
    let status = server.ended(PATIENCE).await;
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", server.printed());
}

/// Whoever asks to continue is told so once the server waits for the rest.
async fn continued(stream: &mut TcpStream) {
    let mut word = [0; 25];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut word)).await.expect("the server answers").unwrap();
    assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// A connection, and what a client has said on it.
async fn said(server: &Server, text: &str) -> TcpStream {
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.replace("<host>", address).as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn what_has_come_in_part_does_not_keep_it() {
    let mut plant = Plant::new("halves", Log::Postgres).await;
    for limit in ["BODY", "HEADER"] {
        plant.settings.environment.push((format!("LOTLINE_API__LIMITS__{limit}_TIMEOUT_MS"), "3600000".into()));
    }
    let mut server = plant.serve().await;
    let mut body = said(&server, &format!("{HEAD}expect: 100-continue\r\ncontent-length: 100\r\n\r\n")).await;
    continued(&mut body).await;
    let silent = said(&server, "").await;
    let first = said(&server, HEAD).await;
    let mut second = said(&server, "GET /health/live HTTP/1.1\r\nhost: <host>\r\n\r\n").await;
    let mut word = [0; 12];
    tokio::time::timeout(PATIENCE, second.read_exact(&mut word)).await.expect("the server answers").unwrap();
    assert_eq!(&word, b"HTTP/1.1 200");
    second.write_all(b"GET /health/live HTTP/1.1\r\nho").await.unwrap();

    let status = server.ended(PATIENCE).await;
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", server.printed());
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, body.read_to_string(&mut answer)).await.expect("it is closed").unwrap();
    assert!(answer.contains("HTTP/1.1 503") && answer.contains("STOPPING"), "{answer}");
    drop((silent, first, second));
}
