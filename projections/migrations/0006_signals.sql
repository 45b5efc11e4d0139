CREATE TABLE read.signals (
    tenant TEXT NOT NULL,
    site TEXT NOT NULL,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    unit TEXT NOT NULL,
    data_type TEXT NOT NULL,
    device TEXT NOT NULL,
    address JSONB NOT NULL,
    scale NUMERIC NOT NULL,
    value_offset NUMERIC NOT NULL,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    partition INTEGER NOT NULL,
    changed_offset BIGINT NOT NULL,
    PRIMARY KEY (tenant, site, number)
);
CREATE UNIQUE INDEX signals_name ON read.signals (tenant, site, name);
CREATE INDEX signals_changed ON read.signals (tenant, partition, changed_offset);
