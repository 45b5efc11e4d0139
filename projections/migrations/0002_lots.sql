CREATE TABLE read.lots (
    tenant TEXT NOT NULL,
    id UUID NOT NULL,
    site TEXT NOT NULL,
    code TEXT NOT NULL,
    lot_type TEXT NOT NULL,
    product TEXT NOT NULL,
    quantity NUMERIC NOT NULL,
    unit TEXT NOT NULL,
    remaining_base NUMERIC NOT NULL,
    temperature_c NUMERIC,
    supplier_lot TEXT,
    expires_on DATE,
    location TEXT,
    attributes JSONB NOT NULL,
    qc_status TEXT,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    partition INTEGER NOT NULL,
    changed_offset BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX lots_code ON read.lots (tenant, site, code);
CREATE INDEX lots_changed ON read.lots (tenant, partition, changed_offset);
