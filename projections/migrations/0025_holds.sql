-- Holds, and which lots each is or was on: derived from the edges of the genealogy, in the transaction in which these change. Part of the model
-- `genealogy`.

CREATE TABLE read.holds (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    id UUID NOT NULL,
    site TEXT NOT NULL,
    code TEXT NOT NULL,
    cause TEXT NOT NULL,
    decision_id UUID,
    rule TEXT,
    reason TEXT,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    released_at TIMESTAMPTZ,
    released_by TEXT,
    release_reason TEXT,
    release_decision_id UUID,
    version BIGINT NOT NULL,
    partition INTEGER NOT NULL,
    changed_offset BIGINT NOT NULL,
    PRIMARY KEY (generation, id, tenant)
);
CREATE UNIQUE INDEX holds_code ON read.holds (tenant, generation, site, code);
CREATE INDEX holds_changed ON read.holds (tenant, generation, partition, changed_offset);

-- `direct`: named by the hold. A lot that was released keeps its row.
CREATE TABLE read.held_lots (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    hold_id UUID NOT NULL,
    lot_id UUID NOT NULL,
    direct BOOLEAN NOT NULL,
    held_since TIMESTAMPTZ NOT NULL,
    released_at TIMESTAMPTZ,
    released_by TEXT,
    release_reason TEXT,
    PRIMARY KEY (generation, hold_id, lot_id, tenant)
);
CREATE INDEX held_lots_lot ON read.held_lots (generation, lot_id, hold_id, tenant);

SELECT read.bind_to_tenant(target::REGCLASS) FROM UNNEST(ARRAY['read.holds', 'read.held_lots']) AS u (target);

-- Whoever writes rows of a generation that is new looks edges up by an index that begins with it and the parent.
CREATE INDEX genealogy_made_of ON read.genealogy (generation, parent_id, child_id, tenant);
DROP INDEX read.genealogy_children;
