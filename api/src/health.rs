//! `/health/live`, `/health/ready` and `/metrics`.
//!
//! Live: the process answers. Ready: the database answers and every part that was registered can do its work. A read model that has
//! given up a stream makes the answer `degraded`, and the server stays ready: everything else still works.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use lotline_projections::progress;
use serde::Serialize;

use crate::server::Server;

/// Longest that one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Report {
    status: &'static str,
    mode: &'static str,
    checks: Vec<Check>,
    degraded: Vec<Degraded>,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct Degraded {
    read_model: &'static str,
    partition: u32,
    streams: Vec<String>,
}

/// The process answers.
pub(crate) async fn live() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "live" }))
}

/// Whether requests can be served.
pub(crate) async fn ready(State(server): State<Arc<Server>>) -> Response {
    let mut checks = Vec::with_capacity(server.state.readiness.len() + 1);
    let (database, degraded) = database(&server).await;
    checks.push(database);
    for (name, part) in &server.state.readiness {
        checks.push(check(name, part.check()).await);
    }
    let ready = checks.iter().all(|check| check.ready);
    let status = match (ready, degraded.is_empty()) {
        (false, _) => "not ready",
        (true, false) => "degraded",
        (true, true) => "ready",
    };
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let report = Report { status, mode: crate::transport::caller::DEVELOPMENT, checks, degraded };
    (code, Json(report)).into_response()
}

async fn check(name: &'static str, answer: impl Future<Output = Result<(), String>>) -> Check {
    let reason = match tokio::time::timeout(CHECK_TIMEOUT, answer).await {
        Ok(Ok(())) => None,
        Ok(Err(reason)) => Some(reason),
        Err(_) => Some(format!("no answer within {} ms", CHECK_TIMEOUT.as_millis())),
    };
    Check { name, ready: reason.is_none(), reason }
}

async fn database(server: &Server) -> (Check, Vec<Degraded>) {
    let mut degraded = Vec::new();
    let asking = async {
        let all = progress::status(&server.state.pool, &server.state.tenant).await.map_err(|error| {
            tracing::debug!(error = %error, "the database does not answer");
            "the database does not answer".to_owned()
        })?;
        degraded.extend(all.into_iter().filter(progress::ModelStatus::is_degraded).map(|status| Degraded {
            read_model: status.model.name(),
            partition: status.partition,
            streams: status.halts.into_iter().map(|halt| halt.stream).collect(),
        }));
        Ok(())
    };
    let check = check("database", asking).await;
    (check, degraded)
}

/// Prometheus text format 0.0.4.
pub(crate) async fn metrics(State(server): State<Arc<Server>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], server.state.metrics.render())
        .into_response()
}
