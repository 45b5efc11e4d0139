//! What each metric of Lotline says: the `# HELP` line of `/metrics`, in one table, and by which labels it is told apart.
//!
//! The crates that count do not describe, so that the table can be read as a whole. To add one: a line here; a house rule finds what is missing,
//! and a test holds dashboard, alerts and the labels of a running server to it. Labels take few values: never an id of a lot, a person or a command.

use metrics::{SharedString, Unit, describe_counter, describe_gauge, describe_histogram};

/// How a metric moves.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

/// Labels of what is counted for each read model.
const MODEL: &[&str] = &["tenant", "model", "partition"];

const METRICS: &[(Kind, &str, Unit, &[&str], &str)] = &[
    (Gauge, "lotline_build_info", Unit::Count, &["version"], "Always 1; the version is that of the binary."),
    (Gauge, "process_start_time_seconds", Unit::Seconds, &[], "When the process began, as Unix time."),
    (Gauge, "process_resident_memory_bytes", Unit::Bytes, &[], "Memory of the process that is in RAM."),
    (
        Gauge,
        "lotline_check_passing",
        Unit::Count,
        &["check"],
        "1 while what the process needs can be used, else 0: the database, the log, and each of its roles.",
    ),
    (
        Gauge,
        "lotline_clock_ahead_seconds",
        Unit::Seconds,
        &[],
        "By how much this process's clock is ahead of PostgreSQL's; negative when it is behind.",
    ),
    (
        Gauge,
        "lotline_postgres_connections",
        Unit::Count,
        &["pool", "state"],
        "Connections to PostgreSQL that are in use or idle.",
    ),
    (Gauge, "lotline_postgres_connections_limit", Unit::Count, &["pool"], "Most connections that a pool may open."),
    (
        Gauge,
        "lotline_writer_status",
        Unit::Count,
        &["partition", "status"],
        "1 for the status that this node's writer of a partition has: recovering, serving, elsewhere or stopped; 0 for the others.",
    ),
    (
        Counter,
        "lotline_http_requests_total",
        Unit::Count,
        &["route", "status"],
        "HTTP requests answered, by route and status.",
    ),
    (
        Histogram,
        "lotline_http_request_seconds",
        Unit::Seconds,
        &["route"],
        "Time from a request's headers to the head of its answer, by route.",
    ),
    (
        Gauge,
        "lotline_http_connections",
        Unit::Count,
        &[],
        "Connections that are open, WebSockets and those in their TLS handshake included.",
    ),
    (
        Counter,
        "lotline_http_connections_refused_total",
        Unit::Count,
        &["reason"],
        "Connections closed at once: too many in total or of one address, or the system has no file handles.",
    ),
    (
        Counter,
        "lotline_http_connections_cut_off_total",
        Unit::Count,
        &["reason"],
        "Connections closed for what came on them: headers or handshake too late, or a malformed or ambiguous request.",
    ),
    (
        Counter,
        "lotline_streams_refused_total",
        Unit::Count,
        &["reason"],
        "WebSockets and event streams refused: too many in total, of one user or key, or before it is known whose they are.",
    ),
    (
        Counter,
        "lotline_requests_limited_total",
        Unit::Count,
        &["limit"],
        "Requests refused because the workspace or an actor has made its number within an hour, or an address has brought too many unknown keys and links.",
    ),
    (Counter, "lotline_tls_handshakes_failed_total", Unit::Count, &[], "TLS handshakes that failed."),
    (
        Counter,
        "lotline_tls_reloads_total",
        Unit::Count,
        &["outcome"],
        "New certificates, by whether they could be used; a failed one leaves the one before in place.",
    ),
    (
        Counter,
        "lotline_commands_total",
        Unit::Count,
        &["outcome", "command"],
        "Commands, by what became of them; 'busy' ones were never decided.",
    ),
    (Histogram, "lotline_writer_batch_events", Unit::Count, &[], "Events that a writer appended in one transaction."),
    (Histogram, "lotline_writer_append_seconds", Unit::Seconds, &[], "Time that an append of a batch to the log took."),
    (
        Counter,
        "lotline_writer_unknown_outcomes_total",
        Unit::Count,
        &[],
        "Appends without a certain outcome; the writer then recovered from the log.",
    ),
    (
        Counter,
        "lotline_writer_watch_commands_total",
        Unit::Count,
        &["outcome"],
        "Commands of a writer itself about alerts, as time passes, by outcome: accepted, refused, or failed and asked again.",
    ),
    (
        Histogram,
        "lotline_writer_recovery_seconds",
        Unit::Seconds,
        &[],
        "Time that a writer took to replay its partition before it served.",
    ),
    (
        Gauge,
        "lotline_writer_assigned_partitions",
        Unit::Count,
        &[],
        "Partitions of the ledger that this node is to write.",
    ),
    (
        Gauge,
        "lotline_writer_queue_commands",
        Unit::Count,
        &["partition"],
        "Commands that wait for a partition's writer; beyond log.queue they are answered busy.",
    ),
    (
        Counter,
        "lotline_log_readers_replaced_total",
        Unit::Count,
        &[],
        "Kafka clients of readers that brought nothing although there was more, or for a minute did not say whether there is, and were replaced.",
    ),
    (
        Counter,
        "lotline_commands_forwarded_total",
        Unit::Count,
        &["outcome"],
        "Commands forwarded to another node, by whether it answered or turned out not to write the partition.",
    ),
    (Counter, "lotline_commands_taken_total", Unit::Count, &[], "Commands that other nodes forwarded to this one."),
    (Counter, "lotline_projection_batches_total", Unit::Count, MODEL, "Batches applied to a read model."),
    (
        Counter,
        "lotline_projection_applied_events_total",
        Unit::Count,
        MODEL,
        "Events or signal batches applied to a read model.",
    ),
    (
        Histogram,
        "lotline_projection_batch_seconds",
        Unit::Seconds,
        MODEL,
        "Time that applying a batch to a read model took.",
    ),
    (
        Gauge,
        "lotline_projection_lag_events",
        Unit::Count,
        MODEL,
        "Offsets between a read model and the end of its log.",
    ),
    (
        Gauge,
        "lotline_projection_lag_seconds",
        Unit::Seconds,
        MODEL,
        "Age of the last applied event while a read model is behind, else 0.",
    ),
    (
        Gauge,
        "lotline_projection_progress_timestamp_seconds",
        Unit::Seconds,
        MODEL,
        "When a read model's worker last looked, as Unix time. Its age grows when a worker is stuck.",
    ),
    (Counter, "lotline_projection_halts_total", Unit::Count, MODEL, "Streams that a read model gave up."),
    (
        Counter,
        "lotline_projection_healed_streams_total",
        Unit::Count,
        MODEL,
        "Streams that a read model follows again after it had given them up.",
    ),
    (Gauge, "lotline_projection_halted_streams", Unit::Count, MODEL, "Streams that a read model does not follow."),
    (
        Gauge,
        "lotline_projection_chain_broken",
        Unit::Count,
        &["tenant", "partition"],
        "1 when the hash chain of a partition is broken and its projections have stopped, else 0.",
    ),
    (
        Counter,
        "lotline_projection_overtaken_total",
        Unit::Count,
        MODEL,
        "Batches that another projector had applied already.",
    ),
    (
        Counter,
        "lotline_projection_retries_total",
        Unit::Count,
        MODEL,
        "Batches tried again because PostgreSQL failed for the moment.",
    ),
    (
        Counter,
        "lotline_projection_duplicate_batches_total",
        Unit::Count,
        MODEL,
        "Signal batches that had been published twice and were applied once.",
    ),
    (
        Counter,
        "lotline_projection_rejected_batches_total",
        Unit::Count,
        MODEL,
        "Records of the signals topic that are no signal batch.",
    ),
    (Counter, "lotline_collector_requests_total", Unit::Count, &["device"], "Requests sent to a device."),
    (Histogram, "lotline_collector_request_seconds", Unit::Seconds, &["device"], "Time that a device took to answer."),
    (
        Counter,
        "lotline_collector_timeouts_total",
        Unit::Count,
        &["device"],
        "Requests that a device did not answer in time.",
    ),
    (
        Counter,
        "lotline_collector_errors_total",
        Unit::Count,
        &["device"],
        "Connections to a device that failed, timeouts aside.",
    ),
    (
        Counter,
        "lotline_collector_exceptions_total",
        Unit::Count,
        &["device"],
        "Requests that a device answered with an exception.",
    ),
    (
        Counter,
        "lotline_collector_overruns_total",
        Unit::Count,
        &["device"],
        "Polls of a device left out because the one before took too long.",
    ),
    (Counter, "lotline_collector_samples_total", Unit::Count, &["device"], "Values read from a device."),
    (Gauge, "lotline_collector_connected", Unit::Count, &["device"], "1 while a device is connected, else 0."),
    (
        Histogram,
        "lotline_collector_publish_seconds",
        Unit::Seconds,
        &[],
        "Time that publishing signal batches to the log took.",
    ),
    (Counter, "lotline_collector_published_batches_total", Unit::Count, &[], "Signal batches published to the log."),
    (
        Counter,
        "lotline_collector_publish_errors_total",
        Unit::Count,
        &[],
        "Failed tries to publish signal batches; they stay in the buffer.",
    ),
    (Counter, "lotline_collector_dropped_batches_total", Unit::Count, &["reason"], "Signal batches lost, by reason."),
    (
        Counter,
        "lotline_collector_buffer_write_errors_total",
        Unit::Count,
        &[],
        "Writes to the disk buffer that failed.",
    ),
    (
        Histogram,
        "lotline_collector_buffer_fsync_seconds",
        Unit::Seconds,
        &[],
        "Time that the disk buffer took to write and sync.",
    ),
    (
        Gauge,
        "lotline_collector_buffer_batches",
        Unit::Count,
        &[],
        "Signal batches in the disk buffer that are not published yet.",
    ),
    (Gauge, "lotline_collector_buffer_bytes", Unit::Bytes, &[], "Size of the disk buffer."),
    (
        Gauge,
        "lotline_collector_buffer_limit_bytes",
        Unit::Bytes,
        &[],
        "Size at which the disk buffer drops its oldest batches.",
    ),
    (
        Gauge,
        "lotline_collector_publishing_batch_timestamp_seconds",
        Unit::Seconds,
        &[],
        "When the batch that is published next was collected, as Unix time. Its age is the delay while the buffer is not empty.",
    ),
    (
        Counter,
        "lotline_attempts_refused_total",
        Unit::Count,
        &["kind"],
        "Attempts refused at the door or by a field, by kind, as `lotline.access.attempts_refused.v1` tells them.",
    ),
    (
        Counter,
        "lotline_trail_lost_total",
        Unit::Count,
        &[],
        "Refused attempts and sign-outs of which the ledger has no record, since it took none until the process ended.",
    ),
    (
        Counter,
        "lotline_sign_ins_total",
        Unit::Count,
        &["outcome"],
        "Passwords presented: right, wrong, locked (too many wrong ones for the name), turned_away (too many from the address, or at once).",
    ),
    (
        Counter,
        "lotline_sign_ons_total",
        Unit::Count,
        &["outcome"],
        "Ways back from the provider of single sign-on: right, wrong, stranger (nobody's user here), unavailable.",
    ),
    (
        Counter,
        "lotline_trace_spans_total",
        Unit::Count,
        &["outcome"],
        "Spans for the collector: exported, queue_full (dropped before it was asked), failed (it could not be asked), rejected (it took others).",
    ),
    (
        Counter,
        "lotline_refresh_tokens_reused_total",
        Unit::Count,
        &[],
        "Refresh tokens that came a second time and ended their session: each may be a stolen one.",
    ),
    (Gauge, "lotline_graph_lots", Unit::Count, &[], "Lots in this node's genealogy in memory."),
    (Gauge, "lotline_graph_edges", Unit::Count, &[], "Edges in this node's genealogy in memory."),
    (Gauge, "lotline_graph_bytes", Unit::Bytes, &[], "Memory that this node's genealogy takes."),
    (
        Gauge,
        "lotline_graph_load_seconds",
        Unit::Seconds,
        &[],
        "Time that it took to read the genealogy into memory, the last time that it was read.",
    ),
    (
        Gauge,
        "lotline_graph_next_offset",
        Unit::Count,
        &["partition"],
        "Everything of a partition of the ledger before this offset is in this node's genealogy in memory.",
    ),
    (
        Counter,
        "lotline_traces_total",
        Unit::Count,
        &["source"],
        "Lots traced, by where the answer came from: memory or tables.",
    ),
    (
        Histogram,
        "lotline_trace_seconds",
        Unit::Seconds,
        &["source"],
        "Time to follow the genealogy from a lot, waiting for a position included.",
    ),
];

/// Name, labels and whether it is a histogram, for whoever checks what is built on metrics.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static [&'static str], bool)> {
    METRICS.iter().map(|(kind, name, _, labels, _)| (*name, *labels, matches!(kind, Histogram)))
}

/// Tells the recorder, which must be installed, what each metric says.
pub(super) fn describe() {
    for (kind, name, unit, _, help) in METRICS {
        let (name, unit, help) = (*name, *unit, SharedString::const_str(help));
        match kind {
            Counter => describe_counter!(name, unit, help),
            Gauge => describe_gauge!(name, unit, help),
            Histogram => describe_histogram!(name, unit, help),
        }
    }
}
