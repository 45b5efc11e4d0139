//! Subscribers that do not read while much happens: they hold up nobody, the server keeps little for them, and whoever reads on gets
//! everything in order, or is cut off and gets the rest from its last position.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use lotline_tests::client::{Client, Subscription, lot};
use lotline_tests::server::{Log, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::load::{PATIENCE, chance, pause};
use crate::site::{Plant, SITE};

const LOTS: usize = 1_500;
/// Streams that nobody ever reads, besides the one that is read at last.
const SILENT: usize = 11;
/// What the server may keep more than before. Of what it has to tell, the twelve together leave more than twice as much unread.
const MORE_BYTES: u64 = 48 << 20;
/// A message that a WebSocket does not take for so long ends it.
const SEND_TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_that_do_not_read_hold_up_nobody_and_miss_nothing() {
    let (_, mut chance) = chance("subscriber");
    let mut plant = Plant::new("slow", Log::Postgres).await;
    let timeout = SEND_TIMEOUT.as_millis().to_string();
    plant.settings.environment.push(("LOTLINE_API__LIMITS__SEND_TIMEOUT_MS".into(), timeout));
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(open_stream(&server).await);
    }
    let mut slow = open_stream(&server).await;
    let mut socket = open_socket(&server, &json!(null)).await;
    taken(&mut socket).await;
    let quick = follow(&ann).await;
    register(&ann, "warm", LOTS / 6).await;
    let before = resident_bytes(&server);
    register(&ann, "load", LOTS).await;
    let all = LOTS / 6 + LOTS;

    // Whoever reads has everything by now, and queries are answered.
    let seen = tokio::time::timeout(PATIENCE, quick).await.expect("it is not held up").unwrap();
    assert_eq!(seen.len(), all, "each lot once");
    assert!(seen.is_sorted(), "in order");
    ann.query("{ lots(site: \"north\", first: 5) { edges { node { code } } } }", &json!({})).await;
    pause(&mut chance, 0, 1_000).await;
    let more = resident_bytes(&server).saturating_sub(before);
    eprintln!("{} MiB more than before", more >> 20);
    assert!(more < MORE_BYTES, "the server keeps {} MiB for those who do not read", more >> 20);

    // A stream waits for its reader, however long.
    let text = read_until(&mut slow, all).await;
    assert_eq!(numbers(&text, "\"version\":"), seen);
    // A socket has been ended meanwhile, after some of it; the last position goes on from there.
    tokio::time::sleep(SEND_TIMEOUT).await;
    let (mut told, position) = read_to_the_end(&mut socket).await;
    assert!(told.len() < all, "it was ended: {} of {all}", told.len());
    let mut rest = open_socket(&server, &position).await;
    while told.len() < all {
        let item = tokio::time::timeout(PATIENCE, next(&mut rest)).await.expect("the rest comes").expect("a message");
        told.extend(versions(&item["lotChanged"]));
    }
    assert_eq!(told, seen);
    drop(silent);
}

/// Some 6 KB a lot: what the kernel keeps for a connection is a small part of it all.
fn query() -> String {
    let many: Vec<String> = (0..48).map(|number| format!("a{number}: product")).collect();
    let subscription = "subscription($after: PositionToken) { lotChanged(site: \"north\", after: $after)";
    format!("{subscription} {{ position lots {{ version {} }} }} }}", many.join(" "))
}

async fn register(client: &Client, name: &str, lots: usize) {
    let mut running = JoinSet::new();
    for number in 0..lots {
        if running.len() == 16 {
            running.join_next().await.unwrap().unwrap();
        }
        let mut input = lot(SITE, &format!("{name}-{number}"), "1", &[]);
        input["product"] = json!("milk ".repeat(25).trim_end());
        let client = client.clone();
        running.spawn(async move { client.mutate("registerLot", "", &input).await });
    }
    running.join_all().await;
}

/// A subscriber that reads, up to the last lot.
async fn follow(client: &Client) -> JoinHandle<Vec<u64>> {
    let query = "subscription { lotChanged(site: \"north\") { lots { version } } }";
    let mut subscription: Subscription = client.subscribe(query, &json!({})).await;
    tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < LOTS / 6 + LOTS {
            let item = subscription.next(PATIENCE).await.expect("the subscription goes on");
            seen.extend(versions(&item["lotChanged"]));
        }
        seen
    })
}

fn versions(change: &Value) -> Vec<u64> {
    let lots = change["lots"].as_array().unwrap_or_else(|| panic!("no lots in {change}"));
    lots.iter().map(|lot| numbers(&lot.to_string(), "\"version\":")[0]).collect()
}

/// The numbers after a mark, with or without quotes.
fn numbers(text: &str, mark: &str) -> Vec<u64> {
    let parts = text.split(mark).skip(1);
    parts
        .map(|part| part.trim_start_matches('"').split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap())
        .collect()
}

async fn connect(server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // The client's kernel takes little, so that the server is held up early.
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    socket.connect(address).await.unwrap()
}

/// A subscription over server-sent events, of which the head of the answer has been read.
async fn open_stream(server: &Server) -> TcpStream {
    let mut stream = connect(server).await;
    let body = json!({ "query": query() }).to_string();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\nx-lotline-actor: slow\r\ncontent-type: application/json\r\n\
         accept: text/event-stream\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    stream
}

/// Reads a stream until it has told of so many lots.
async fn read_until(stream: &mut TcpStream, lots: usize) -> String {
    let (mut text, mut piece, until) = (Vec::new(), vec![0; 1 << 20], Instant::now() + PATIENCE);
    let mut told = 0;
    while told < lots {
        let read = tokio::time::timeout_at(until.into(), stream.read(&mut piece)).await.expect("the stream goes on");
        let read = read.expect("the stream is open");
        assert!(read > 0, "the stream has ended after {told} lots");
        // A mark may be cut in two, so a little of what came before is looked at again.
        let from = text.len().saturating_sub(20);
        text.extend_from_slice(&piece[..read]);
        let marks = |bytes: &[u8]| bytes.windows(10).filter(|window| window == b"\"version\":").count();
        told += marks(&text[from..]) - marks(&text[from..text.len() - read]);
    }
    String::from_utf8(text).expect("events are text")
}

type Socket = WebSocketStream<TcpStream>;

async fn open_socket(server: &Server, after: &Value) -> Socket {
    let mut request = server.url.replace("http", "ws").into_client_request().unwrap();
    *request.uri_mut() = format!("{}/graphql", server.url.replace("http", "ws")).parse().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, connect(server).await).await.unwrap();
    for message in [
        json!({ "type": "connection_init" }),
        json!({ "type": "subscribe", "id": "1", "payload": { "query": query(), "variables": { "after": after } } }),
    ] {
        socket.send(Message::text(message.to_string())).await.unwrap();
    }
    socket
}

/// Waits until a subscription that has nothing to tell yet has been taken: what a socket sends is answered in turn.
async fn taken(socket: &mut Socket) {
    socket.send(Message::text(json!({ "type": "ping" }).to_string())).await.unwrap();
    for expected in ["connection_ack", "pong"] {
        let message: Value = serde_json::from_str(socket.next().await.unwrap().unwrap().to_text().unwrap()).unwrap();
        assert_eq!(message["type"], expected, "{message}");
    }
}

/// The next item, or nothing when the socket has ended.
async fn next(socket: &mut Socket) -> Option<Value> {
    loop {
        let text = match socket.next().await?.ok()? {
            Message::Text(text) => text,
            Message::Close(_) => return None,
            _ => continue,
        };
        let message: Value = serde_json::from_str(&text).unwrap();
        if message["type"] == "next" {
            return Some(message["payload"]["data"].clone());
        }
    }
}

async fn read_to_the_end(socket: &mut Socket) -> (Vec<u64>, Value) {
    let (mut told, mut position) = (Vec::new(), json!(null));
    while let Some(item) = tokio::time::timeout(PATIENCE, next(socket)).await.expect("the socket is ended") {
        told.extend(versions(&item["lotChanged"]));
        position = item["lotChanged"]["position"].clone();
    }
    (told, position)
}

fn resident_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1_024
}
