CREATE TABLE read.genealogy (
    tenant TEXT NOT NULL,
    child_id UUID NOT NULL,
    parent_id UUID NOT NULL,
    site TEXT NOT NULL,
    quantity NUMERIC NOT NULL,
    unit TEXT NOT NULL,
    quantity_base NUMERIC NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant, child_id, parent_id)
);
CREATE INDEX genealogy_children ON read.genealogy (tenant, parent_id, child_id);
