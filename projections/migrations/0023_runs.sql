-- Production runs as they are now, the phases that they entered, the lots that belong to them, and what was decided at their gates.

CREATE TABLE read.runs (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    id UUID NOT NULL,
    site TEXT NOT NULL,
    code TEXT NOT NULL,
    scenario_id UUID NOT NULL,
    scenario_name TEXT NOT NULL,
    scenario_version INTEGER NOT NULL,
    definition JSON NOT NULL,
    stage TEXT NOT NULL,
    phase INTEGER NOT NULL,
    phase_since TIMESTAMPTZ NOT NULL,
    held_since TIMESTAMPTZ,
    ended_at TIMESTAMPTZ,
    -- Why it is on hold or was given up.
    stage_reason TEXT,
    summary JSON,
    -- Time of its last step in the world: steps that are said to have happened before it count from it.
    last_at TIMESTAMPTZ NOT NULL,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    partition INTEGER NOT NULL,
    changed_offset BIGINT NOT NULL,
    PRIMARY KEY (generation, id, tenant)
);
CREATE UNIQUE INDEX runs_code ON read.runs (tenant, generation, site, code);
CREATE INDEX runs_changed ON read.runs (tenant, generation, partition, changed_offset);

CREATE TABLE read.run_phases (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    run_id UUID NOT NULL,
    site TEXT NOT NULL,
    phase INTEGER NOT NULL,
    entered_at TIMESTAMPTZ NOT NULL,
    left_at TIMESTAMPTZ,
    actor TEXT NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    sequence BIGINT NOT NULL,
    partition INTEGER NOT NULL,
    log_offset BIGINT NOT NULL,
    PRIMARY KEY (generation, run_id, phase, tenant)
);
CREATE INDEX run_phases_offset ON read.run_phases (tenant, generation, partition, log_offset);

CREATE TABLE read.run_lots (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    run_id UUID NOT NULL,
    lot_id UUID NOT NULL,
    phase INTEGER NOT NULL,
    quantity NUMERIC,
    unit TEXT,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (generation, run_id, lot_id, phase, tenant)
);

-- Of a lot's decision the verdict only; what was measured and answered is in the lot's own decision of the same id.
CREATE TABLE read.run_decisions (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    id UUID NOT NULL,
    run_id UUID NOT NULL,
    gate TEXT NOT NULL,
    lot_id UUID,
    outcome TEXT NOT NULL,
    replaces UUID,
    measurements JSONB NOT NULL,
    checklist JSONB NOT NULL,
    notes JSONB,
    reason TEXT,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (generation, run_id, sequence, tenant)
);

SELECT read.bind_to_tenant(target::REGCLASS)
FROM UNNEST(ARRAY['read.runs', 'read.run_phases', 'read.run_lots', 'read.run_decisions']) AS u (target);
