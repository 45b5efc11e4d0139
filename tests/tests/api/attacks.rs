//! Clients that mean harm, over real sockets: they are cut off, and a normal client is served meanwhile.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lotline_api::Limits;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::plant::{DEADLINE, Plant};

/// Another address of this machine than that of the normal client.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

async fn connect(plant: &Plant, from: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(IpAddr::V4(from), 0)).unwrap();
    timeout(DEADLINE, socket.connect(plant.address)).await.expect("the system takes the connection").unwrap()
}

/// All that comes until the server closes. A server that drops what it has not read resets the connection.
async fn read_to_the_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4_096];
    let reading = async {
        while let Ok(read @ 1..) = stream.read(&mut chunk).await {
            bytes.extend_from_slice(&chunk[..read]);
        }
    };
    timeout(DEADLINE, reading).await.expect("the server closes the connection");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether the server has closed a connection on which nothing was said.
fn is_closed(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0; 1]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

#[tokio::test]
async fn a_thousand_idle_sockets_of_one_address_leave_room_for_others() {
    let limits = Limits { sockets: 1_000, sockets_per_address: 900, ..Limits::default() };
    let plant = Plant::start("api_idle", limits).await;
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        idle.push(connect(&plant, ELSEWHERE).await);
    }
    let until = tokio::time::Instant::now() + DEADLINE;
    while idle.iter().filter(|stream| is_closed(stream)).count() < 100 {
        assert!(tokio::time::Instant::now() < until, "what is more than its share is closed at once");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..10 {
        assert_eq!(plant.data("{ tenant }", json!({})).await["tenant"], "test");
    }
    let held = idle.iter().filter(|stream| !is_closed(stream)).count();
    assert_eq!(held, 900, "and the others are held as long as they may be silent");
    drop(idle);
}

#[tokio::test]
async fn whoever_is_silent_or_slow_before_a_request_is_cut_off() {
    let limits = Limits { header_timeout_ms: 500, sockets: 20, sockets_per_address: 20, ..Limits::default() };
    let plant = Plant::start("api_slow_heads", limits).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(connect(&plant, ELSEWHERE).await);
    }
    // A line that never ends, a header that never ends, and one who stays after a request.
    let heads = ["GET /health/live HT", "GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: "];
    for (stream, head) in streams.iter_mut().zip(heads) {
        stream.write_all(head.as_bytes()).await.unwrap();
    }
    let whole = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    streams[2].write_all(whole.as_bytes()).await.unwrap();
    let mut dribbling = streams.remove(1);
    let dribble = tokio::spawn(async move {
        let (mut reader, mut writer) = dribbling.split();
        let mut sink = Vec::new();
        let slowly = async {
            while writer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        // Whichever notices first that the server has gone.
        tokio::select! {
            () = slowly => {}
            _ = reader.read_to_end(&mut sink) => {}
        }
    });
    timeout(DEADLINE, dribble).await.expect("slow headers are cut off").unwrap();
    for (number, stream) in streams.iter_mut().enumerate() {
        let text = read_to_the_end(stream).await;
        assert_eq!(text.starts_with("HTTP/1.1 200"), number == 1, "{number}: {text}");
    }
    assert_eq!(plant.data("{ tenant }", json!({})).await["tenant"], "test", "there is room again");
}

#[tokio::test]
async fn a_body_that_comes_slowly_is_cut_off_however_it_is_framed() {
    let plant = Plant::start("api_slow_bodies", Limits { body_timeout_ms: 500, ..Limits::default() }).await;
    for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let mut stream = connect(&plant, ELSEWHERE).await;
        let head =
            format!("POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let slowly = tokio::spawn(async move {
            // Each write is a chunk of one byte, or five bytes of what was announced.
            while writer.write_all(b"1\r\n \r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let mut text = Vec::new();
        let reading = async {
            let mut chunk = [0; 4_096];
            while let Ok(read @ 1..) = reader.read(&mut chunk).await {
                text.extend_from_slice(&chunk[..read]);
            }
        };
        timeout(DEADLINE, reading).await.expect("the server ends it");
        let text = String::from_utf8_lossy(&text);
        assert!(text.starts_with("HTTP/1.1 408") && text.contains("BODY_TIMEOUT"), "{framing}: {text}");
        slowly.abort();
    }
}

#[tokio::test]
async fn a_flood_of_subscriptions_on_one_socket_is_refused_beyond_its_share() {
    const FLOOD: usize = 5_000;
    let plant = Plant::start("api_flood", Limits { operations_per_socket: 10, ..Limits::default() }).await;
    let socket = plant.ready_socket().await;
    let (mut out, mut messages) = socket.0.split();
    let payload = json!({ "query": "subscription { lotChanged { position } }" });
    let flood = tokio::spawn(async move {
        for number in 0..FLOOD {
            let message = json!({ "type": "subscribe", "id": number.to_string(), "payload": payload });
            out.send(Message::text(message.to_string())).await.expect("the socket takes a message");
        }
        out
    });
    let mut refused = 0;
    while refused < FLOOD - 10 {
        let frame = timeout(DEADLINE, messages.next()).await.expect("an answer comes").unwrap().unwrap();
        let Message::Text(text) = frame else { continue };
        let message: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(message["payload"][0]["extensions"]["code"], "TOO_MANY_OPERATIONS", "{message}");
        refused += 1;
        if refused == FLOOD / 2 {
            assert_eq!(plant.data("{ tenant }", json!({})).await["tenant"], "test", "others are served meanwhile");
        }
    }
    drop(flood.await.unwrap());
}

#[tokio::test]
async fn bombs_are_refused_before_they_go_off() {
    let plant = Plant::start("api_bombs", Limits::default()).await;
    let deep = format!("{{ lots(first: 1) {{ nodes {}code{} }} }}", "{ parents { parent ".repeat(7), "} }".repeat(7));
    let wide = format!("{{ {} }}", "tenant ".repeat(5_001));
    let aliases = (0..51).map(|number| format!("a{number}: tenant ")).collect::<Vec<_>>().concat();
    let doubling =
        (0..20).map(|i| format!("fragment F{i} on Query {{ ...F{0} ...F{0} }} ", i + 1)).collect::<Vec<_>>().concat();
    let costly =
        "{ lots(first: 100) { nodes { children(first: 100) { child { children(first: 100) { child { code } } } } } } }";
    for (query, code) in [
        (deep, "NESTED_TOO_DEEP"),
        ("{a".repeat(50_000 / 2), "NESTED_TOO_DEEP"),
        (wide, "TOO_MANY_FIELDS"),
        (format!("{{ {aliases} }}"), "TOO_MANY_ALIASES"),
        (format!("{{ tenant {} }}", "@skip(if: false) ".repeat(51)), "TOO_MANY_DIRECTIVES"),
        (format!("{{ ...F0 }} {doubling} fragment F20 on Query {{ tenant }}"), "TOO_MANY_FIELDS"),
        ("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }".to_owned(), "FRAGMENT_CYCLE"),
        (format!("{{ tenant {} }}", "# ".repeat(70_000)), "DOCUMENT_TOO_LARGE"),
        (format!("{{ {} }}", "a ".repeat(15_001)), "TOO_MANY_TOKENS"),
        (costly.to_owned(), "TOO_COSTLY"),
    ] {
        let answer = plant.ask(&query, json!({})).await;
        let shown: String = query.chars().take(80).collect();
        assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{shown}: {answer}");
    }
    assert_eq!(plant.data("{ tenant }", json!({})).await["tenant"], "test");
}
