-- What came to lots or left them by other ways than into lots: counts, scrap, samples. Part of the model `genealogy`, whose edges say the rest,
-- so that a balance is of one position. Events of these kinds are younger than this table.

CREATE TABLE read.stock_changes (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    lot_id UUID NOT NULL,
    site TEXT NOT NULL,
    kind TEXT NOT NULL,
    quantity NUMERIC NOT NULL,
    unit TEXT NOT NULL,
    quantity_base NUMERIC NOT NULL,
    reason TEXT,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (generation, lot_id, sequence, tenant)
);
SELECT read.bind_to_tenant('read.stock_changes');
