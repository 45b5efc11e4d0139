-- Alerts as they are now, part of the read model of quality decisions: an alert that a decision raised is there with it.

CREATE TABLE read.alerts (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    id UUID NOT NULL,
    site TEXT NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    -- By severity, the worst with the highest: the inbox is in this order.
    rank SMALLINT NOT NULL,
    level INTEGER NOT NULL,
    -- open, acknowledged or resolved.
    status TEXT NOT NULL,
    title TEXT NOT NULL,
    lot_id UUID,
    run_id UUID,
    gate TEXT,
    -- The decision that raised it or made it worse.
    decision_id UUID,
    expires_on DATE,
    escalates_at TIMESTAMPTZ,
    acknowledged_by TEXT,
    acknowledged_at TIMESTAMPTZ,
    note JSONB,
    resolved_by TEXT,
    resolved_at TIMESTAMPTZ,
    resolved_by_itself BOOLEAN NOT NULL,
    resolution TEXT,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    partition INTEGER NOT NULL,
    raised_offset BIGINT NOT NULL,
    changed_offset BIGINT NOT NULL,
    PRIMARY KEY (generation, id, tenant)
);
CREATE INDEX alerts_inbox ON read.alerts (tenant, generation, rank DESC, id DESC) WHERE status <> 'resolved';
CREATE INDEX alerts_site ON read.alerts (tenant, generation, site, rank DESC, id DESC);
CREATE INDEX alerts_lot ON read.alerts (tenant, generation, lot_id) WHERE lot_id IS NOT NULL;
CREATE INDEX alerts_run ON read.alerts (tenant, generation, run_id) WHERE run_id IS NOT NULL;
CREATE INDEX alerts_raised ON read.alerts (tenant, generation, partition, raised_offset);
CREATE INDEX alerts_changed ON read.alerts (tenant, generation, partition, changed_offset);

SELECT read.bind_to_tenant('read.alerts');
