-- What made lots out of lots. Part of the model `genealogy`: its edges and this move forward together.

ALTER TABLE read.lots ADD COLUMN transformation_id UUID, ADD COLUMN expired BOOLEAN NOT NULL DEFAULT FALSE;

CREATE TABLE read.transformations (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    id UUID NOT NULL,
    site TEXT NOT NULL,
    kind TEXT NOT NULL,
    inputs JSONB NOT NULL,
    outputs JSONB NOT NULL,
    loss JSONB,
    gain JSONB,
    step TEXT,
    location TEXT,
    documents JSONB NOT NULL,
    reason TEXT,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (generation, id, tenant)
);
SELECT read.bind_to_tenant('read.transformations');

-- Where a lot lies can change from now on, so its kept states say where it lay.
UPDATE read.audit_state AS known
SET state = jsonb_set(known.state::JSONB, '{lot,location}', to_jsonb(event.data->>'location'))::JSON
FROM read.audit AS event
WHERE event.generation = known.generation AND event.subject = known.subject AND event.tenant = known.tenant
    AND event.event_type = 'lotline.lot.registered.v1' AND event.data->>'location' IS NOT NULL;
