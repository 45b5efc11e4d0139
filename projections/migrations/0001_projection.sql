-- How far each read model has come, and where it could not go on.

CREATE TABLE read.projection_offset (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset BIGINT NOT NULL,
    PRIMARY KEY (tenant, model, topic, partition)
) WITH (fillfactor = 50);

-- The last event of each stream that a model has applied: the hash chain is checked on from here after a restart.
CREATE TABLE read.projection_head (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    stream TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant, model, topic, partition, stream)
) WITH (fillfactor = 50);

-- Streams that a model no longer follows ('poison'), and partitions whose chain broke ('chain_break').
CREATE TABLE read.projection_halt (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    stream TEXT NOT NULL,
    cause TEXT NOT NULL CHECK (cause IN ('poison', 'chain_break')),
    log_offset BIGINT NOT NULL,
    sequence BIGINT,
    error TEXT NOT NULL,
    halted_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (tenant, model, topic, partition, stream, cause)
);
