//! Listens; in development mode on the loopback interface only, since whoever reaches the port is then whoever they say they are.

mod connections;
mod held;
pub mod tls;
mod under_way;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::connections::Connections;
use self::tls::Tls;
use crate::auth::Mode;
use crate::config::Limits;
use crate::health::Health;
use crate::peer::PeerState;
use crate::router::{health_router, router};
use crate::server::{ApiState, Edge};

/// How long a request that has come in part is waited for when the server stops.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// Why the server does not listen.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Others could reach it.
    #[error(
        "refusing to listen on {0}: in development mode the actor is taken from a header, so only a loopback address \
         (127.0.0.1 or ::1) is accepted; start it without --development"
    )]
    NotLoopback(SocketAddr),
    /// The address is taken, or not ours.
    #[error("can't listen on {address}")]
    Bind {
        /// As configured.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The listener is of no use.
    #[error("the listener has no address")]
    Io(#[from] std::io::Error),
}

/// Refuses addresses that others could reach, in development mode.
///
/// # Errors
/// [`ServeError::NotLoopback`].
pub fn check_address(address: SocketAddr, mode: Mode) -> Result<(), ServeError> {
    let fine = mode == Mode::Enforced || address.ip().to_canonical().is_loopback();
    if fine { Ok(()) } else { Err(ServeError::NotLoopback(address)) }
}

/// Opens a listener. Port 0 takes any free one; the listener knows which.
///
/// # Errors
/// [`ServeError`].
pub async fn bind(address: SocketAddr, mode: Mode) -> Result<TcpListener, ServeError> {
    check_address(address, mode)?;
    TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })
}

/// Serves until the state's shutdown token is cancelled, then until open requests have been answered. Sockets and streams are told to end; wait
/// for them with the state's `connections` tracker, and put a deadline around both.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(listener: TcpListener, state: ApiState) -> Result<(), ServeError> {
    let (address, mode) = (listener.local_addr()?, state.door.mode());
    check_address(address, mode)?;
    let (mode, scheme) = (mode.as_str(), Edge::scheme(state.edge.tls.as_ref()));
    tracing::info!(%address, mode, "serving GraphQL at {scheme}://{address}/graphql, playground at {scheme}://{address}/graphiql");
    let (limits, tls, shutdown) = (state.limits.clone(), state.edge.tls.clone(), state.shutdown.clone());
    Connections { router: router(state), limits, tls, shutdown }.serve(listener).await;
    Ok(())
}

/// Serves health and metrics alone, for a process without the API, until the token is cancelled.
///
/// # Errors
/// [`ServeError`].
pub async fn serve_health(
    listener: TcpListener,
    health: Health,
    peers: Option<PeerState>,
    (limits, tls): (Limits, Option<Tls>),
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    check_address(address, health.mode)?;
    let scheme = Edge::scheme(tls.as_ref());
    tracing::info!(%address, "serving health at {scheme}://{address}/health/ready and metrics at {scheme}://{address}/metrics");
    Connections { router: health_router(health, peers), limits, tls, shutdown }.serve(listener).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_accepted() {
        for fine in ["127.0.0.1:80", "127.9.9.9:0", "[::1]:8080", "[::ffff:127.0.0.1]:1"] {
            assert!(check_address(fine.parse().unwrap(), Mode::Development).is_ok(), "{fine}");
        }
        for bad in ["0.0.0.0:80", "[::]:80", "192.168.0.2:80", "8.8.8.8:1", "[::ffff:10.0.0.1]:1", "[fe80::1]:1"] {
            assert!(check_address(bad.parse().unwrap(), Mode::Enforced).is_ok(), "{bad}");
            let error = check_address(bad.parse().unwrap(), Mode::Development).expect_err(bad);
            assert!(error.to_string().contains("only a loopback address"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_refused_address_is_not_bound() {
        let error = bind("0.0.0.0:0".parse().unwrap(), Mode::Development).await.unwrap_err();
        assert!(matches!(error, ServeError::NotLoopback(_)));
    }
}
