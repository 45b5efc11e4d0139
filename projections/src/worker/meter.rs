//! What operators see of the projections. Age of progress is `time() - lotline_projection_progress_timestamp_seconds`, which keeps growing
//! when a worker is stuck; lagging but progressing is healthy.

use std::time::Duration;

use lotline_domain::record::Offset;
use lotline_domain::timestamp::Timestamp;
use metrics::{Label, counter, gauge, histogram};

use crate::model::Model;
use crate::offsets::Place;

fn labels(place: &Place, model: Model) -> Vec<Label> {
    vec![
        Label::new("tenant", place.tenant.to_string()),
        Label::new("model", model.name()),
        Label::new("partition", place.partition.to_string()),
    ]
}

/// A batch is in a model.
pub(super) fn applied(place: &Place, model: Model, events: usize, took: Duration) {
    let labels = labels(place, model);
    counter!("lotline_projection_batches_total", labels.clone()).increment(1);
    counter!("lotline_projection_applied_events_total", labels.clone()).increment(events as u64);
    histogram!("lotline_projection_batch_seconds", labels).record(took.as_secs_f64());
}

/// Where a model stands against the end of its log.
pub(super) fn stands(place: &Place, model: Model, next: Offset, end: Offset, last: Option<Timestamp>, now: Timestamp) {
    let labels = labels(place, model);
    let behind = (end - next).max(0);
    gauge!("lotline_projection_lag_events", labels.clone()).set(behind as f64);
    let seconds = match last {
        Some(last) if behind > 0 => (now.micros() - last.micros()).max(0) as f64 / 1e6,
        Some(_) | None => 0.0,
    };
    gauge!("lotline_projection_lag_seconds", labels.clone()).set(seconds);
    gauge!("lotline_projection_progress_timestamp_seconds", labels).set(now.micros() as f64 / 1e6);
}

/// A model gave up a stream.
pub(super) fn halted(place: &Place, model: Model) {
    counter!("lotline_projection_halts_total", labels(place, model)).increment(1);
}

/// A model follows a stream again.
pub(super) fn healed(place: &Place, model: Model) {
    counter!("lotline_projection_healed_streams_total", labels(place, model)).increment(1);
}

/// How many streams a model does not follow.
pub(super) fn halted_streams(place: &Place, model: Model, streams: usize) {
    gauge!("lotline_projection_halted_streams", labels(place, model)).set(streams as f64);
}

/// The chain of a partition broke, or was found whole again.
pub(super) fn chain_broken(place: &Place, broken: bool) {
    let partition = place.partition.to_string();
    let gauge =
        gauge!("lotline_projection_chain_broken", "tenant" => place.tenant.to_string(), "partition" => partition);
    gauge.set(if broken { 1.0 } else { 0.0 });
}

/// Another projector was faster.
pub(super) fn overtaken(place: &Place, model: Model) {
    counter!("lotline_projection_overtaken_total", labels(place, model)).increment(1);
}

/// PostgreSQL failed for the moment.
pub(super) fn retried(place: &Place, model: Model) {
    counter!("lotline_projection_retries_total", labels(place, model)).increment(1);
}

/// Signal batches that were sent twice, and records that are none.
pub(super) fn dropped(place: &Place, duplicates: usize, rejected: usize) {
    let labels = labels(place, Model::Samples);
    counter!("lotline_projection_duplicate_batches_total", labels.clone()).increment(duplicates as u64);
    counter!("lotline_projection_rejected_batches_total", labels).increment(rejected as u64);
}
