-- Values of signals; NULL where the source gave no number. Quality is an OPC UA StatusCode, an unsigned 32-bit number.

CREATE TABLE read.signal_latest (
    tenant TEXT NOT NULL,
    site TEXT NOT NULL,
    number INTEGER NOT NULL,
    source_time TIMESTAMPTZ NOT NULL,
    value DOUBLE PRECISION,
    quality BIGINT NOT NULL,
    partition INTEGER NOT NULL,
    log_offset BIGINT NOT NULL,
    PRIMARY KEY (tenant, site, number)
) WITH (fillfactor = 50);

CREATE TABLE read.signal_history (
    tenant TEXT NOT NULL,
    site TEXT NOT NULL,
    number INTEGER NOT NULL,
    source_time TIMESTAMPTZ NOT NULL,
    value DOUBLE PRECISION,
    quality BIGINT NOT NULL,
    partition INTEGER NOT NULL,
    log_offset BIGINT NOT NULL,
    PRIMARY KEY (tenant, site, number, source_time)
);
CREATE INDEX signal_history_offset ON read.signal_history (tenant, partition, log_offset);

-- Which batches have been counted: closed intervals of sequences, in order, for each life of a collector's buffer.
CREATE TABLE read.signal_seen (
    tenant TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    collector TEXT NOT NULL,
    epoch UUID NOT NULL,
    starts BIGINT[] NOT NULL,
    ends BIGINT[] NOT NULL,
    PRIMARY KEY (tenant, topic, partition, collector, epoch)
);

-- Records of the signals topic that are no batch.
CREATE TABLE read.signal_reject (
    tenant TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    log_offset BIGINT NOT NULL,
    collector TEXT NOT NULL,
    error TEXT NOT NULL,
    rejected_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (tenant, topic, partition, log_offset)
);
