-- Templates of processes. Definitions are JSON and not JSONB: the text stays as it was hashed.

CREATE TABLE read.scenarios (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    id UUID NOT NULL,
    name TEXT NOT NULL,
    draft JSON NOT NULL,
    draft_hash TEXT NOT NULL,
    published_version INTEGER,
    published_hash TEXT,
    retired BOOLEAN NOT NULL,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    partition INTEGER NOT NULL,
    changed_offset BIGINT NOT NULL,
    PRIMARY KEY (generation, id, tenant)
);
CREATE INDEX scenarios_changed ON read.scenarios (tenant, generation, partition, changed_offset);

CREATE TABLE read.scenario_versions (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    scenario_id UUID NOT NULL,
    version INTEGER NOT NULL,
    name TEXT NOT NULL,
    definition JSON NOT NULL,
    definition_hash TEXT NOT NULL,
    reason TEXT,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (tenant, generation, scenario_id, version)
);

SELECT read.bind_to_tenant('read.scenarios');
SELECT read.bind_to_tenant('read.scenario_versions');
