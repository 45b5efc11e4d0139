//! A wire that a test can cut: a TCP proxy on the loopback, behind which a server seems to fall silent.
//!
//! While it is cut, connections stay open, new ones are taken, and nothing gets through in either direction, not even that somebody has hung
//! up. What was sent meanwhile arrives when it is whole again, late, as TCP delivers it after a partition of a network.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A proxy. Dropping it takes no more connections.
pub struct Proxy {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    whole: watch::Sender<bool>,
    target: watch::Sender<Option<SocketAddr>>,
    withheld: watch::Sender<Option<i16>>,
    taking: JoinHandle<()>,
}

impl Proxy {
    /// Listens; who connects waits until there is a target.
    ///
    /// # Panics
    /// When the loopback has no free port.
    pub async fn start() -> Self {
        Self::take(false).await
    }

    /// The same for clients of Kafka, whose requests it can tell apart.
    ///
    /// # Panics
    /// When the loopback has no free port.
    pub async fn of_kafka() -> Self {
        Self::take(true).await
    }

    async fn take(is_kafka: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("the loopback has a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let (whole, cut) = watch::channel(true);
        let (target, wanted) = watch::channel(None);
        let (withheld, unwanted) = watch::channel(None);
        let taking = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                // Who comes later is spared.
                let filter = (is_kafka && unwanted.borrow().is_none()).then(|| unwanted.clone());
                tokio::spawn(connect(near, wanted.clone(), cut.clone(), filter));
            }
        });
        Self { port, whole, target, withheld, taking }
    }

    /// Leads to `host:port`.
    ///
    /// # Panics
    /// When that is no address.
    pub fn lead_to(&self, address: &str) {
        self.target.send_replace(Some(address.parse().expect("an address of the test stack")));
    }

    /// Loses the requests of this kind (`api_key`) of all who are connected by now. Who connects later is served.
    pub fn withhold(&self, kind: i16) {
        self.withheld.send_replace(Some(kind));
    }

    /// Lets nothing through any more.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Lets everything through again, first what was held back.
    pub fn heal(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.taking.abort();
    }
}

async fn connect(
    near: TcpStream,
    mut wanted: watch::Receiver<Option<SocketAddr>>,
    mut whole: watch::Receiver<bool>,
    filter: Option<watch::Receiver<Option<i16>>>,
) {
    let Ok(target) = wanted.wait_for(Option::is_some).await.map(|target| *target) else { return };
    if whole.wait_for(|whole| *whole).await.is_err() {
        return;
    }
    let Some(target) = target else { return };
    // A server that refuses hangs up on the client, as it would without a proxy.
    let Ok(far) = TcpStream::connect(target).await else { return };
    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
    let asking = async {
        match filter {
            Some(filter) => carry_requests(from_near, to_far, whole.clone(), filter).await,
            None => carry(from_near, to_far, whole.clone()).await,
        }
    };
    tokio::join!(asking, carry(from_far, to_near, whole.clone()));
}

/// Carries requests of Kafka's protocol, but for those that are to be lost.
///
/// ```text
/// length 4 | api_key 2 | …
/// ```
async fn carry_requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut whole: watch::Receiver<bool>,
    withheld: watch::Receiver<Option<i16>>,
) {
    let mut request = Vec::new();
    while let Ok(length) = from.read_u32().await {
        request.clear();
        request.extend(length.to_be_bytes());
        let body = (&mut from).take(u64::from(length)).read_to_end(&mut request).await;
        if body.is_err() || request.len() < 6 || whole.wait_for(|whole| *whole).await.is_err() {
            break;
        }
        let kind = i16::from_be_bytes([request[4], request[5]]);
        if *withheld.borrow() != Some(kind) && to.write_all(&request).await.is_err() {
            break;
        }
    }
    // As in `carry`.
    drop(to.shutdown().await);
}

/// Carries one direction to its end, a piece at a time, each when the wire is whole.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut whole: watch::Receiver<bool>) {
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut piece).await.unwrap_or(0);
        if whole.wait_for(|whole| *whole).await.is_err() || read == 0 || to.write_all(&piece[..read]).await.is_err() {
            // The end is news for the other side too; one that is gone needs none.
            drop(to.shutdown().await);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn what_is_sent_while_it_is_cut_arrives_when_it_is_whole() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start().await;
        proxy.lead_to(&server.local_addr().unwrap().to_string());
        let mut near = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
        let (mut far, _) = timeout(DEADLINE, server.accept()).await.unwrap().unwrap();
        let mut byte = [0];
        near.write_all(b"a").await.unwrap();
        far.read_exact(&mut byte).await.unwrap();
        proxy.cut();
        near.write_all(b"b").await.unwrap();
        drop(near);
        assert!(timeout(Duration::from_millis(200), far.read_exact(&mut byte)).await.is_err(), "it is cut");
        let mut late = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
        assert!(timeout(Duration::from_millis(200), server.accept()).await.is_err(), "for newcomers too");
        proxy.heal();
        let mut rest = Vec::new();
        timeout(DEADLINE, far.read_to_end(&mut rest)).await.expect("it heals").unwrap();
        assert_eq!(rest, b"b");
        let (mut far, _) = timeout(DEADLINE, server.accept()).await.unwrap().unwrap();
        far.write_all(b"c").await.unwrap();
        timeout(DEADLINE, late.read_exact(&mut byte)).await.unwrap().unwrap();
        assert_eq!(byte, *b"c");
    }
}
