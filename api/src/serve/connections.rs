//! Takes connections: how many, from where, how long they may be silent, and what they speak.
//!
//! ```text
//! accept ─▶ room for one more, of this address? ─▶ TLS handshake ─▶ h2 or HTTP/1.1 by ALPN ─▶ each request: wire ─▶ router
//!               no: closed at once                  in time, or cut off   headers in time, or cut off
//! ```
//! Without TLS it is HTTP/1.1. A connection that says nothing, or its headers slowly, is cut off after `header_timeout_ms`, be it new or kept
//! open between requests; over h2 one that does not answer pings. When the server stops, what has not come to its end after a second is cut off. Bodies have their own time, see [`crate::transport::http`].

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use metrics::counter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::held::{Held, Written};
use super::tls::{H2, Tls};
use super::{GRACE, under_way};
use crate::config::Limits;
use crate::tally::Tally;

/// Longest head of a request: its line and headers. A GET with a document in it can be long.
const HEAD_BYTES: usize = 64 << 10;
/// The same over h2, where a list of headers is measured unpacked.
const HEADER_LIST_BYTES: u32 = 64 << 10;
/// Requests at one time on one h2 connection.
const STREAMS: u32 = 100;
/// How long to wait when the system has no more file handles.
const BREATH: Duration = Duration::from_millis(100);

/// Who is at the other end.
struct Client {
    address: SocketAddr,
    written: Written,
}

/// Takes connections for a router.
pub(super) struct Connections {
    pub(super) router: Router,
    pub(super) limits: Limits,
    pub(super) tls: Option<Tls>,
    pub(super) shutdown: CancellationToken,
}

impl Connections {
    /// Serves until the shutdown, then until open requests have been answered.
    pub(super) async fn serve(self, listener: TcpListener) {
        let this = Arc::new(self);
        let (all, addresses, open) = (Tally::default(), Tally::default(), TaskTracker::new());
        loop {
            let accepted = tokio::select! {
                () = this.shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    rest(&error).await;
                    continue;
                }
            };
            let Some(room) = all.enter((), this.limits.sockets) else {
                refuse("total");
                continue;
            };
            let Some(place) = addresses.enter(neighbourhood(address.ip()), this.limits.sockets_per_address) else {
                refuse("address");
                continue;
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%address, error = &error as &dyn std::error::Error, "a connection was gone at once");
                continue;
            }
            let (this, stream) = (Arc::clone(&this), Held::new(stream, (room, place)));
            open.spawn(async move { this.connection(stream, address).await });
        }
        drop(listener);
        open.close();
        open.wait().await;
    }

    async fn connection(&self, stream: Held, address: SocketAddr) {
        let client = Client { address, written: stream.written() };
        let Some(tls) = &self.tls else { return self.http1(stream, client).await };
        let handshake = tokio::time::timeout(self.limits.header_timeout(), tls.accept(stream));
        let accepted = tokio::select! {
            () = self.shutdown.cancelled() => return,
            accepted = handshake => accepted,
        };
        match accepted {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(H2) => self.http2(stream, client).await,
            Ok(Ok(stream)) => self.http1(stream, client).await,
            Ok(Err(error)) => {
                counter!("lotline_tls_handshakes_failed_total").increment(1);
                tracing::debug!(%address, error = &error as &dyn std::error::Error, "a TLS handshake failed");
            }
            Err(_) => cut_off("handshake"),
        }
    }

    async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S, client: Client) {
        let address = client.address;
        let under_way = TaskTracker::new();
        let service = service_fn(|request| under_way::answer(self.router.clone(), request, address, under_way.token()));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.limits.header_timeout()).max_buf_size(HEAD_BYTES);
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        self.drive(connection, http1::UpgradeableConnection::graceful_shutdown, &under_way, &client).await;
    }

    async fn http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S, client: Client) {
        let address = client.address;
        let (router, timeout) = (self.router.clone(), self.limits.header_timeout());
        let under_way = TaskTracker::new();
        let open = under_way.clone();
        let service = service_fn(move |request| under_way::answer(router.clone(), request, address, open.token()));
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(timeout).keep_alive_timeout(timeout);
        builder.max_concurrent_streams(STREAMS).max_header_list_size(HEADER_LIST_BYTES);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        self.drive(connection, http2::Connection::graceful_shutdown, &under_way, &client).await;
    }

    /// Serves a connection to its end. After the shutdown it has [`GRACE`] beyond the last byte of the last answer that the client has taken: a request that
    /// has come in part is not waited for longer.
    async fn drive<C: Future<Output = Result<(), hyper::Error>>>(
        &self,
        connection: C,
        stop: impl FnOnce(Pin<&mut C>),
        under_way: &TaskTracker,
        client: &Client,
    ) {
        let mut connection = pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.shutdown.cancelled() => {
                stop(connection.as_mut());
                tokio::select! {
                    result = connection => result,
                    () = under_way::quiet(under_way, &client.written, GRACE) => return cut_off("stopping"),
                }
            }
        };
        ended(result, client.address);
    }
}

/// Counts the end of a connection that was not the client's.
fn ended(result: Result<(), hyper::Error>, address: SocketAddr) {
    let Err(error) = result else { return };
    if error.is_timeout() {
        cut_off("headers");
    } else if error.is_parse() {
        cut_off("malformed");
    }
    tracing::debug!(%address, error = &error as &dyn std::error::Error, "a connection has ended");
}

fn refuse(reason: &'static str) {
    counter!("lotline_http_connections_refused_total", "reason" => reason).increment(1);
}

fn cut_off(reason: &'static str) {
    counter!("lotline_http_connections_cut_off_total", "reason" => reason).increment(1);
}

/// After a connection could not be taken. A client that was gone already concerns nobody.
async fn rest(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        refuse("system");
        tracing::warn!(error = error as &dyn std::error::Error, "a connection can't be taken");
        tokio::time::sleep(BREATH).await;
    }
}

/// What counts as one address. Whoever has an address of IPv6 has the other 2^64 of its network too.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;

    use super::*;

    const BODY_BYTES: usize = 4 << 20;
    /// What the systems of both ends hold of it; the least there is.
    const BUFFER_BYTES: u32 = 4 << 10;

    /// Its answer was complete in memory long before, and nothing of it has been under way since.
    #[tokio::test]
    async fn who_reads_a_large_answer_slowly_gets_all_of_it_when_the_server_stops() {
        let listening = TcpSocket::new_v4().unwrap();
        listening.set_send_buffer_size(BUFFER_BYTES).unwrap();
        listening.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = listening.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let (router, shutdown) =
            (Router::new().route("/", get(|| async { vec![7; BODY_BYTES] })), CancellationToken::new());
        let connections = Connections { router, limits: Limits::default(), tls: None, shutdown: shutdown.clone() };
        let serving = tokio::spawn(connections.serve(listener));
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(BUFFER_BYTES).unwrap();
        let mut client = socket.connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut piece = vec![0; BODY_BYTES / 20];
        client.read_exact(&mut piece).await.unwrap();
        shutdown.cancel();
        for _ in 0..16 {
            tokio::time::sleep(GRACE / 8).await;
            client.read_exact(&mut piece).await.unwrap();
        }
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert!(17 * piece.len() + rest.len() > BODY_BYTES, "the head too");
        serving.await.unwrap();
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let same = |a: &str, b: &str| neighbourhood(a.parse().unwrap()) == neighbourhood(b.parse().unwrap());
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9") && same("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1") && !same("10.0.0.1", "10.0.0.2"));
    }
}
