-- Every event. `data` and `changes` are JSON and not JSONB: a refusal quotes what was sent, which may hold \u0000.

CREATE TABLE read.audit (
    tenant TEXT NOT NULL,
    id UUID NOT NULL,
    stream TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    event_type TEXT NOT NULL,
    subject TEXT NOT NULL,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    reason TEXT,
    correlation_id UUID NOT NULL,
    causation_id UUID NOT NULL,
    partition INTEGER NOT NULL,
    log_offset BIGINT NOT NULL,
    data JSON NOT NULL,
    changes JSON NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX audit_offset ON read.audit (tenant, partition, log_offset);
CREATE INDEX audit_decided ON read.audit (tenant, decided_at, partition, log_offset);
CREATE INDEX audit_subject_log ON read.audit (tenant, subject, decided_at, partition, log_offset);

-- What each subject looked like after its last event: the "before" of its next one.
CREATE TABLE read.audit_state (
    tenant TEXT NOT NULL,
    subject TEXT NOT NULL,
    state JSON NOT NULL,
    PRIMARY KEY (tenant, subject)
) WITH (fillfactor = 80);
