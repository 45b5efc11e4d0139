-- Who may do what, as the tenant's stream says. Names and e-mails are the encrypted fields of the events; without the person's key they say nothing.

CREATE TABLE read.access_sites (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    actor TEXT NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    partition INTEGER NOT NULL,
    changed_offset BIGINT NOT NULL,
    PRIMARY KEY (tenant, generation, id)
);

CREATE TABLE read.access_users (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    id UUID NOT NULL,
    name JSON NOT NULL,
    email JSON NOT NULL,
    active BOOLEAN NOT NULL,
    actor TEXT NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    partition INTEGER NOT NULL,
    changed_offset BIGINT NOT NULL,
    PRIMARY KEY (generation, id, tenant)
);
CREATE INDEX access_users_changed ON read.access_users (tenant, generation, partition, changed_offset);

-- `site` is empty for roles that hold everywhere. Who has no role somewhere has no row for it.
CREATE TABLE read.access_memberships (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    user_id UUID NOT NULL,
    site TEXT NOT NULL,
    roles TEXT[] NOT NULL,
    actor TEXT NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (generation, user_id, site, tenant)
);

-- Neither the secret of a key nor its hash: those are not in the log.
CREATE TABLE read.access_keys (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    id UUID NOT NULL,
    label TEXT NOT NULL,
    prefix TEXT NOT NULL,
    roles TEXT[] NOT NULL,
    sites TEXT[] NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    revoked_at TIMESTAMPTZ,
    actor TEXT NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    partition INTEGER NOT NULL,
    changed_offset BIGINT NOT NULL,
    PRIMARY KEY (generation, id, tenant)
);
CREATE UNIQUE INDEX access_keys_prefix ON read.access_keys (tenant, generation, prefix);

CREATE TABLE read.access_grants (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    pipeline_id UUID NOT NULL,
    user_id UUID NOT NULL,
    rights TEXT[] NOT NULL,
    actor TEXT NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (generation, pipeline_id, user_id, tenant)
);
CREATE INDEX access_grants_user ON read.access_grants (tenant, generation, user_id, pipeline_id);
