//! TLS of the server's own: a real client, h2 and HTTP/1.1, and a certificate that changes while connections go on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lotline_api::{Edge, Limits, Tls, TlsError};
use lotline_tests::stack;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::plant::{DEADLINE, Plant};

/// Files in which a certificate stands.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// A certificate for `localhost`, signed by itself.
struct Made {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

fn made() -> Made {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Made { certificate: made.cert.pem(), key: made.signing_key.serialize_pem(), der: made.cert.der().clone() }
}

impl Files {
    fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(stack::unique(name));
        std::fs::create_dir_all(&folder).unwrap();
        Self { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") }
    }

    fn write(&self, made: &Made) {
        std::fs::write(&self.certificate, &made.certificate).unwrap();
        std::fs::write(&self.key, &made.key).unwrap();
    }
}

/// A plant with TLS that follows its files.
async fn plant(name: &str, files: &Files, limits: Limits) -> Plant {
    let tls = Tls::open(&files.certificate, &files.key).unwrap();
    let edge = Edge { tls: Some(tls.clone()), ..Edge::default() };
    let plant = Plant::at_the_edge(name, limits, edge).await;
    tokio::spawn(tls.watch(plant.shutdown.clone()));
    plant
}

/// Shakes hands as a client that believes the given certificates only.
async fn shake(plant: &Plant, believed: &[&Made], protocols: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for made in believed {
        roots.add(made.der.clone()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(plant.address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

/// A request on a connection that goes on.
async fn is_live(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut text = String::new();
    while !text.ends_with("{\"status\":\"live\"}") {
        let mut chunk = [0; 1_024];
        let read = timeout(DEADLINE, stream.read(&mut chunk)).await.expect("an answer comes").unwrap();
        assert!(read > 0, "the connection goes on: {text}");
        text.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
    }
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

#[tokio::test]
async fn a_client_speaks_h2_or_http_1_over_tls() {
    let (files, made) = (Files::new("tls-speak"), made());
    files.write(&made);
    let plant = plant("api_tls", &files, Limits::default()).await;
    let root = reqwest::Certificate::from_der(&made.der).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).no_proxy().resolve("localhost", plant.address);
    let client = client.build().unwrap();
    let origin = format!("https://localhost:{}", plant.address.port());
    let ask = |origin: String, own: &str| {
        let request = client.post(format!("{origin}/graphql")).header("origin", own.to_owned());
        request.json(&json!({ "query": "{ tenant }" })).timeout(DEADLINE).send()
    };
    let answer = ask(origin.clone(), &origin).await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200));
    assert_eq!(answer.json::<Value>().await.unwrap()["data"]["tenant"], "test");
    let foreign = ask(origin.clone(), "https://evil.example").await.unwrap();
    assert_eq!(foreign.status(), 403, "h2 has a host too, though no Host header");

    let mut stream = shake(&plant, &[&made], &[b"http/1.1"]).await.unwrap();
    is_live(&mut stream).await;
    let request = format!("wss://localhost:{}/graphql", plant.address.port());
    let mut request = request.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
    let stream = shake(&plant, &[&made], &[b"http/1.1"]).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    socket.send(Message::text(json!({ "type": "connection_init" }).to_string())).await.unwrap();
    let message = timeout(DEADLINE, socket.next()).await.expect("an answer comes").unwrap().unwrap();
    assert!(message.to_text().unwrap().contains("connection_ack"), "{message}");
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_a_broken_one_is_not() {
    let (files, first, second) = (Files::new("tls-reload"), made(), made());
    files.write(&first);
    let plant = plant("api_tls_reload", &files, Limits::default()).await;
    let mut open = shake(&plant, &[&first], &[b"http/1.1"]).await.unwrap();
    assert_eq!(shown(&open), first.der);
    is_live(&mut open).await;

    // Broken in each way; looked at more than once meanwhile.
    let broken = Made { key: second.key.clone(), ..made() };
    let no_pem = Made { certificate: "nothing".into(), key: String::new(), der: first.der.clone() };
    for broken in [&broken, &no_pem] {
        files.write(broken);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let stream = shake(&plant, &[&first], &[b"http/1.1"]).await.expect("the one before stays in use");
        assert_eq!(shown(&stream), first.der);
    }
    std::fs::remove_file(&files.certificate).unwrap();
    files.write(&second);
    let until = tokio::time::Instant::now() + DEADLINE;
    let mut fresh = loop {
        let stream = shake(&plant, &[&first, &second], &[b"http/1.1"]).await.unwrap();
        if shown(&stream) == second.der {
            break stream;
        }
        assert!(tokio::time::Instant::now() < until, "the new certificate is taken up");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    is_live(&mut fresh).await;
    is_live(&mut open).await;
    assert!(shake(&plant, &[&first], &[]).await.is_err(), "who believes the old one only is not served by the new one");
}

#[tokio::test]
async fn whoever_does_not_shake_hands_is_cut_off() {
    let (files, made) = (Files::new("tls-silent"), made());
    files.write(&made);
    let plant = plant("api_tls_silent", &files, Limits { header_timeout_ms: 500, ..Limits::default() }).await;
    for text in ["", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut stream = TcpStream::connect(plant.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        let ended = timeout(DEADLINE, stream.read_to_end(&mut said)).await.expect("the server ends it");
        drop(ended);
        assert!(!String::from_utf8_lossy(&said).contains("HTTP/1.1 200"), "plain HTTP is not spoken");
    }
    is_live(&mut shake(&plant, &[&made], &[b"http/1.1"]).await.unwrap()).await;
}

#[test]
fn files_that_hold_no_pair_are_named() {
    let (files, one, other) = (Files::new("tls-files"), made(), made());
    let open = || Tls::open(&files.certificate, &files.key).map(drop);
    assert!(matches!(open(), Err(TlsError::Read { path, .. }) if path.ends_with("certificate.pem")));
    files.write(&Made { key: other.key.clone(), ..made() });
    assert!(matches!(open(), Err(TlsError::Key(_))));
    files.write(&Made { certificate: String::new(), ..made() });
    assert!(matches!(open(), Err(TlsError::Empty { .. })));
    files.write(&Made { key: "nothing".into(), ..made() });
    assert!(matches!(open(), Err(TlsError::Pem { path, what: "private key", .. }) if path.ends_with("key.pem")));
    files.write(&one);
    open().unwrap();
}
