-- Definitions are JSON and not JSONB: users' configuration may hold \u0000, which JSONB refuses, and the text stays as it was hashed.

CREATE TABLE read.pipelines (
    tenant TEXT NOT NULL,
    id UUID NOT NULL,
    name TEXT NOT NULL,
    draft JSON NOT NULL,
    draft_hash TEXT NOT NULL,
    published_version INTEGER,
    published_hash TEXT,
    archived BOOLEAN NOT NULL,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    partition INTEGER NOT NULL,
    changed_offset BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX pipelines_changed ON read.pipelines (tenant, partition, changed_offset);

CREATE TABLE read.pipeline_versions (
    tenant TEXT NOT NULL,
    pipeline_id UUID NOT NULL,
    version INTEGER NOT NULL,
    name TEXT NOT NULL,
    definition JSON NOT NULL,
    definition_hash TEXT NOT NULL,
    reason TEXT,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (tenant, pipeline_id, version)
);
