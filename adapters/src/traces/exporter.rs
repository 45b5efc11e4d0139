//! Sends what has ended to a collector, in batches.
//!
//! A collector that is away costs spans and nothing else: a batch is tried [`TRIES`] times where trying again may help (OTLP 1.x, section "Failures"),
//! then counted and dropped, while the queue before it fills. What is said about it in the log is one line a minute.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{OtlpError, OtlpOptions};

/// Spans in one request, at most.
const MAX_BATCH: usize = 1_024;
/// How long the first span of a batch waits for others.
const LINGER: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest that a collector may make us wait.
const MAX_PAUSE: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 64 * 1_024;
/// How long a request may still take once the process ends.
const CLOSING: Duration = Duration::from_secs(2);
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

/// Takes spans from the queue to the collector.
pub struct Exporter {
    spans: mpsc::Receiver<SpanData>,
    resource: ResourceAttributesWithSchema,
    http: Client,
    url: Url,
    headers: HeaderMap,
    complaints: Complaints,
}

/// Why a batch did not arrive.
#[derive(Debug, Error)]
enum Failure {
    #[error("it can't be asked")]
    Http(#[source] reqwest::Error),
    #[error("it answered with status {status}")]
    Status { status: StatusCode, retry_after: Option<Duration> },
    #[error("the process ends and it does not answer")]
    Closing,
}

/// What has been said, and what has been lost since.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    failing: bool,
    lost: usize,
}

impl Exporter {
    pub(super) fn new(
        options: &OtlpOptions,
        resource: &Resource,
        spans: mpsc::Receiver<SpanData>,
    ) -> Result<Self, OtlpError> {
        let client = Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(options.timeout);
        let http = client.redirect(Policy::none()).build().map_err(OtlpError::Client)?;
        let (url, headers) = (options.address()?, options.header_map()?);
        begin_at_zero();
        Ok(Self { spans, resource: resource.into(), http, url, headers, complaints: Complaints::default() })
    }

    /// Sends until closed, and then what is still there, for as long as the collector takes it.
    pub async fn run(mut self, closing: CancellationToken) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        loop {
            let ended = self.collect(&mut batch, &closing).await;
            let whole = batch.is_empty() || self.deliver(std::mem::take(&mut batch), &closing).await;
            if ended {
                return;
            }
            if !whole && closing.is_cancelled() {
                let mut left = 0;
                while self.spans.try_recv().is_ok() {
                    left += 1;
                }
                return count("failed", left);
            }
        }
    }

    /// Fills a batch. Gives whether nothing comes after it.
    async fn collect(&mut self, batch: &mut Vec<SpanData>, closing: &CancellationToken) -> bool {
        let received = tokio::select! {
            biased;
            received = self.spans.recv_many(batch, MAX_BATCH) => received,
            () = closing.cancelled() => 0,
        };
        if received == 0 {
            return true;
        }
        let until = Instant::now() + LINGER;
        while batch.len() < MAX_BATCH {
            let room = MAX_BATCH - batch.len();
            let more = tokio::select! {
                biased;
                more = timeout_at(until, self.spans.recv_many(batch, room)) => more.unwrap_or(0),
                () = closing.cancelled() => 0,
            };
            if more == 0 {
                return false;
            }
        }
        false
    }

    /// Gives whether the batch arrived.
    async fn deliver(&mut self, spans: Vec<SpanData>, closing: &CancellationToken) -> bool {
        let sent = spans.len();
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let body = Bytes::from(ExportTraceServiceRequest { resource_spans }.encode_to_vec());
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let asked = tokio::select! {
                asked = self.post(body.clone()) => asked,
                () = closed(closing) => Err(Failure::Closing),
            };
            match asked {
                Ok(answer) => {
                    self.accepted(sent, &answer);
                    return true;
                }
                Err(failure) if failure.may_pass() && attempt < TRIES && !closing.is_cancelled() => {
                    let wait = failure.retry_after().unwrap_or(pause).min(MAX_PAUSE);
                    tokio::select! {
                        () = sleep(wait) => {}
                        () = closing.cancelled() => {}
                    }
                    pause *= 2;
                }
                Err(failure) => {
                    count("failed", sent);
                    self.complaints.failed(&failure, sent);
                    return false;
                }
            }
        }
        false
    }

    async fn post(&self, body: Bytes) -> Result<ExportTraceServiceResponse, Failure> {
        let request = self.http.post(self.url.clone()).headers(self.headers.clone());
        let request = request.header(CONTENT_TYPE, "application/x-protobuf").body(body);
        // Without its URL: a part of that may be a secret.
        let failed = |error: reqwest::Error| Failure::Http(error.without_url());
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        if !status.is_success() {
            let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            return Err(Failure::Status { status, retry_after: seconds.map(Duration::from_secs) });
        }
        let body = read(response).await.map_err(failed)?;
        // Who answers a success with something else has taken the spans all the same.
        Ok(ExportTraceServiceResponse::decode(body.as_slice()).unwrap_or_default())
    }

    fn accepted(&mut self, sent: usize, answer: &ExportTraceServiceResponse) {
        let partial = answer.partial_success.as_ref();
        let rejected = partial.map_or(0, |partial| usize::try_from(partial.rejected_spans).unwrap_or(0)).min(sent);
        count("exported", sent - rejected);
        count("rejected", rejected);
        self.complaints.arrived();
        if let Some(partial) = partial.filter(|_| rejected > 0) {
            let why: String = partial.error_message.chars().take(200).filter(|c| !c.is_control()).collect();
            self.complaints.rejected(&why, rejected);
        }
    }
}

impl Failure {
    fn may_pass(&self) -> bool {
        match self {
            Self::Http(_) => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Closing => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Http(_) | Self::Closing => None,
        }
    }
}

impl Complaints {
    fn failed(&mut self, failure: &Failure, spans: usize) {
        self.failing = true;
        self.lost += spans;
        if let Some(lost) = self.due() {
            tracing::warn!(
                error = causes(failure),
                spans.lost = lost,
                "spans do not reach the collector; everything else goes on"
            );
        }
    }

    fn rejected(&mut self, why: &str, spans: usize) {
        self.lost += spans;
        if let Some(lost) = self.due() {
            tracing::warn!(why, spans.lost = lost, "the collector does not take all spans");
        }
    }

    fn arrived(&mut self) {
        if std::mem::take(&mut self.failing) {
            tracing::info!("spans reach the collector again");
        }
    }

    /// How many spans have been lost since something was said, when it is time to say something again.
    fn due(&mut self) -> Option<usize> {
        if self.last.is_some_and(|last| last.elapsed() < COMPLAIN_EVERY) {
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.lost))
    }
}

/// Down to the last one: what a log for machines shows of an error is its first line only.
fn causes(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut source = failure.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Returns some time after the process has begun to end.
async fn closed(closing: &CancellationToken) {
    closing.cancelled().await;
    sleep(CLOSING).await;
}

async fn read(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn count(outcome: &'static str, spans: usize) {
    metrics::counter!("lotline_trace_spans_total", "outcome" => outcome).increment(spans as u64);
}

/// Alerts may look at these: a counter that appears with its first count has, for Prometheus, not increased.
fn begin_at_zero() {
    for outcome in ["exported", "queue_full", "failed", "rejected"] {
        count(outcome, 0);
    }
}
