//! Requests that two programs could read in two ways: each is answered once at most, and nothing hidden in one is taken for another.

use lotline_api::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::plant::{DEADLINE, Plant};

/// What an attacker hides behind a request; its answer would be a second one.
const HIDDEN: &str = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Sends bytes as they are and gives all that comes until the server closes.
async fn raw(plant: &Plant, bytes: &str) -> String {
    let mut stream = TcpStream::connect(plant.address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let reading = async {
        let mut chunk = [0; 4_096];
        while let Ok(read @ 1..) = stream.read(&mut chunk).await {
            text.extend_from_slice(&chunk[..read]);
        }
    };
    timeout(DEADLINE, reading).await.expect("the server closes the connection");
    String::from_utf8_lossy(&text).into_owned()
}

fn post(headers: &str, rest: &str) -> String {
    format!("POST /graphql HTTP/1.1\r\nContent-Type: application/json\r\n{headers}\r\n\r\n{rest}")
}

/// Longer than the tests wait, so that it is not this which closes a connection.
fn patient() -> Limits {
    Limits { header_timeout_ms: 600_000, ..Limits::default() }
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_answered_once_and_refused() {
    let plant = Plant::start("api_smuggling", patient()).await;
    let host = "Host: localhost";
    let chunks = format!("0\r\n\r\n{HIDDEN}");
    for (what, request) in [
        ("two framings", post(&format!("{host}\r\nContent-Length: 6\r\nTransfer-Encoding: chunked"), &chunks)),
        ("two framings", post(&format!("{host}\r\nTransfer-Encoding: chunked\r\nContent-Length: 6"), &chunks)),
        ("an unknown coding", post(&format!("{host}\r\nTransfer-Encoding: xchunked"), &chunks)),
        ("a coding after chunked", post(&format!("{host}\r\nTransfer-Encoding: chunked, identity"), &chunks)),
        ("two lengths", post(&format!("{host}\r\nContent-Length: 0\r\nContent-Length: 6"), HIDDEN)),
        ("a list of lengths", post(&format!("{host}\r\nContent-Length: 0, 6"), HIDDEN)),
        ("a signed length", post(&format!("{host}\r\nContent-Length: +0"), HIDDEN)),
        ("no number", post(&format!("{host}\r\nTransfer-Encoding: chunked"), &format!("zz\r\n{HIDDEN}"))),
        (
            "a huge chunk",
            post(&format!("{host}\r\nTransfer-Encoding: chunked"), &format!("{}\r\n{HIDDEN}", "f".repeat(17))),
        ),
        ("two hosts", format!("GET /health/live HTTP/1.1\r\n{host}\r\nHost: evil.example\r\n\r\n{HIDDEN}")),
        ("the host twice", format!("GET /health/live HTTP/1.1\r\n{host}\r\n{host}\r\n\r\n{HIDDEN}")),
        ("no host", format!("GET /health/live HTTP/1.1\r\n\r\n{HIDDEN}")),
        ("another target", format!("GET http://evil.example/health/live HTTP/1.1\r\n{host}\r\n\r\n{HIDDEN}")),
        ("a tunnel", format!("CONNECT evil.example:443 HTTP/1.1\r\n{host}\r\n\r\n{HIDDEN}")),
        ("a space before the colon", format!("GET /health/live HTTP/1.1\r\nHost : localhost\r\n\r\n{HIDDEN}")),
        ("a folded line", format!("GET /health/live HTTP/1.1\r\n{host}\r\nX-A: a\r\n b: c\r\n\r\n{HIDDEN}")),
        ("a return in a value", format!("GET /health/live HTTP/1.1\r\n{host}\r\nX-A: a\rb\r\n\r\n{HIDDEN}")),
        ("a zero in a value", format!("GET /health/live HTTP/1.1\r\n{host}\r\nX-A: a\0b\r\n\r\n{HIDDEN}")),
    ] {
        let text = raw(&plant, &request).await;
        assert!(text.starts_with("HTTP/1.1 400"), "{what}: {text}");
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{what}: {text}");
        assert!(!text.contains("\"live\""), "{what}: {text}");
    }
}

#[tokio::test]
async fn a_target_with_its_host_is_read_like_one_without() {
    let plant = Plant::start("api_absolute", patient()).await;
    for target in ["/health/live", "http://LOCALHOST/health/live"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let text = raw(&plant, &request).await;
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("{\"status\":\"live\"}"), "{target}: {text}");
    }
}

#[tokio::test]
async fn nothing_a_client_sends_becomes_a_header_of_the_answer() {
    let plant = Plant::start("api_splitting", patient()).await;
    let evil = "%0d%0aX-Evil:%201";
    for request in [
        format!("GET /{evil} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        format!("GET /graphql?query={evil} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Correlation-Id: {evil}\r\nConnection: close\r\n\r\n"),
    ] {
        let text = raw(&plant, &request).await.to_lowercase();
        let head = text.split("\r\n\r\n").next().unwrap();
        assert!(head.starts_with("http/1.1 ") && !head.contains("x-evil"), "{request}: {head}");
    }
}
