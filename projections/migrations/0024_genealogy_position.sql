-- Where an edge stands in the log, so that the graph in memory can follow by position, and when it was decided, for what was known at a time.
-- Edges that were there before have no place: whoever loads has them all, and follows from there.

ALTER TABLE read.genealogy
    ADD COLUMN partition INTEGER,
    ADD COLUMN log_offset BIGINT,
    ADD COLUMN decided_at TIMESTAMPTZ;

-- An edge is decided with the lot that it leads to. One whose lot has not been read yet keeps the world's time until its model is rebuilt.
UPDATE read.genealogy AS edge SET decided_at = COALESCE((
    SELECT lot.decided_at FROM read.lots AS lot JOIN read.projection_generation AS live
        ON live.tenant = lot.tenant AND live.generation = lot.generation AND live.model = 'lots' AND live.state = 'live'
    WHERE lot.tenant = edge.tenant AND lot.id = edge.child_id
), edge.occurred_at);
ALTER TABLE read.genealogy ALTER COLUMN decided_at SET NOT NULL;

CREATE INDEX genealogy_offset ON read.genealogy (tenant, generation, partition, log_offset);
