CREATE TABLE read.qc_decisions (
    tenant TEXT NOT NULL,
    id UUID NOT NULL,
    site TEXT NOT NULL,
    lot_id UUID NOT NULL,
    gate TEXT NOT NULL,
    outcome TEXT NOT NULL,
    measurements JSONB NOT NULL,
    checklist JSONB NOT NULL,
    notes JSONB,
    reason TEXT,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    sequence BIGINT NOT NULL,
    partition INTEGER NOT NULL,
    log_offset BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX qc_decisions_lot ON read.qc_decisions (tenant, lot_id, sequence);
CREATE INDEX qc_decisions_offset ON read.qc_decisions (tenant, partition, log_offset);
