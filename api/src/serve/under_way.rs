//! Which requests of a connection are under way: from their head until the last byte of the answer has been handed over.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::held::Written;
use super::wire;

/// The body of an answer. Its request is under way until it is dropped.
pub(super) struct Answering {
    body: Body,
    _token: TaskTrackerToken,
}

/// Answers a request, which is under way meanwhile.
pub(super) async fn answer(
    router: Router,
    request: Request<Incoming>,
    address: SocketAddr,
    token: TaskTrackerToken,
) -> Result<Response<Answering>, Infallible> {
    let response = wire::answer(router, request, address).await?;
    Ok(response.map(|body| Answering { body, _token: token }))
}

/// Returns when nothing has been under way, and the client has taken nothing of what was answered, for so long.
pub(super) async fn quiet(under_way: &TaskTracker, written: &Written, grace: Duration) {
    under_way.close();
    loop {
        under_way.wait().await;
        let before = written.so_far();
        tokio::time::sleep(grace).await;
        if under_way.is_empty() && written.so_far() == before {
            return;
        }
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
