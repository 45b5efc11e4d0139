//! `/health/live`, `/health/ready` and `/metrics`, for every process, whatever its roles are.
//!
//! Live: the process answers. Ready: the database answers and every role that was registered can do its work; each is named. A read model
//! that has given up a stream makes the answer `degraded`, and the server stays ready: everything else still works.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use lotline_domain::id::TenantId;
use lotline_projections::progress;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use sqlx::PgPool;

use crate::auth::Mode;
use crate::server::{ApiState, Readiness};

/// Longest that one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// What the answers are made of.
#[derive(Clone)]
pub struct Health {
    /// Whose read models are looked at.
    pub tenant: TenantId,
    /// Where they are.
    pub pool: PgPool,
    /// How callers are identified.
    pub mode: Mode,
    /// The roles of this process, by name.
    pub readiness: Vec<(&'static str, Arc<dyn Readiness>)>,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
}

impl From<&ApiState> for Health {
    fn from(state: &ApiState) -> Self {
        Self {
            tenant: state.tenant.clone(),
            pool: state.pool.clone(),
            mode: state.door.mode(),
            readiness: state.readiness.clone(),
            metrics: state.metrics.clone(),
        }
    }
}

/// The three routes.
pub(crate) fn routes(health: Health) -> Router {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(health))
}

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
async fn live() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "live" }))
}

/// Whether the process can do its work.
async fn ready(State(health): State<Arc<Health>>) -> Response {
    let mut checks = Vec::with_capacity(health.readiness.len() + 1);
    let (database, degraded) = database(&health).await;
    checks.push(database);
    for (name, part) in &health.readiness {
        checks.push(check(name, part.check()).await);
    }
    let ready = checks.iter().all(|check| check.ready);
    let status = match (ready, degraded.is_empty()) {
        (false, _) => "not ready",
        (true, false) => "degraded",
        (true, true) => "ready",
    };
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let report = Report { status, mode: health.mode.as_str(), checks, degraded };
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

async fn database(health: &Health) -> (Check, Vec<Degraded>) {
    let mut degraded = Vec::new();
    let asking = async {
        let all = progress::status(&health.pool, &health.tenant).await.map_err(|error| {
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
async fn metrics(State(health): State<Arc<Health>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], health.metrics.render()).into_response()
}
