-- Each row of a read model belongs to a generation of it. Readers see the live one; a rebuild fills another beside it, and the swap is a
-- change of `state`. Generations are per tenant and model, and their numbers only grow. `version` is that of the program that began it.

CREATE TABLE read.projection_generation (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    generation INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('building', 'live', 'retired')),
    version TEXT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (tenant, model, generation)
);
CREATE UNIQUE INDEX projection_generation_live ON read.projection_generation (tenant, model) INCLUDE (generation) WHERE state = 'live';
CREATE UNIQUE INDEX projection_generation_building ON read.projection_generation (tenant, model) WHERE state = 'building';

-- Never the same number twice: whoever still works for a generation that was given up must not find another under its number.
CREATE SEQUENCE read.projection_generation_number AS INTEGER;

INSERT INTO read.projection_generation (tenant, model, generation, state, version)
SELECT DISTINCT tenant, model, 0, 'live', '' FROM read.projection_offset;

-- `fence` counts the changes of hands: whoever steps must know it, so who has been replaced can't write any more.
ALTER TABLE read.projection_offset
    ADD COLUMN generation INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN fence BIGINT NOT NULL DEFAULT 0,
    DROP CONSTRAINT projection_offset_pkey,
    ADD PRIMARY KEY (tenant, model, generation, topic, partition);
ALTER TABLE read.projection_head
    ADD COLUMN generation INTEGER NOT NULL DEFAULT 0,
    DROP CONSTRAINT projection_head_pkey,
    ADD PRIMARY KEY (tenant, model, generation, topic, partition, stream);

ALTER TABLE read.lots
    ADD COLUMN generation INTEGER NOT NULL DEFAULT 0,
    DROP CONSTRAINT lots_pkey,
    ADD PRIMARY KEY (tenant, generation, id);
DROP INDEX read.lots_code, read.lots_changed;
CREATE UNIQUE INDEX lots_code ON read.lots (tenant, generation, site, code);
CREATE INDEX lots_changed ON read.lots (tenant, generation, partition, changed_offset);

ALTER TABLE read.genealogy
    ADD COLUMN generation INTEGER NOT NULL DEFAULT 0,
    DROP CONSTRAINT genealogy_pkey,
    ADD PRIMARY KEY (tenant, generation, child_id, parent_id);
DROP INDEX read.genealogy_children;
CREATE INDEX genealogy_children ON read.genealogy (tenant, generation, parent_id, child_id);

ALTER TABLE read.qc_decisions
    ADD COLUMN generation INTEGER NOT NULL DEFAULT 0,
    DROP CONSTRAINT qc_decisions_pkey,
    ADD PRIMARY KEY (tenant, generation, id);
DROP INDEX read.qc_decisions_lot, read.qc_decisions_offset;
CREATE INDEX qc_decisions_lot ON read.qc_decisions (tenant, generation, lot_id, sequence);
CREATE INDEX qc_decisions_offset ON read.qc_decisions (tenant, generation, partition, log_offset);

ALTER TABLE read.pipelines
    ADD COLUMN generation INTEGER NOT NULL DEFAULT 0,
    DROP CONSTRAINT pipelines_pkey,
    ADD PRIMARY KEY (tenant, generation, id);
DROP INDEX read.pipelines_changed;
CREATE INDEX pipelines_changed ON read.pipelines (tenant, generation, partition, changed_offset);
ALTER TABLE read.pipeline_versions
    ADD COLUMN generation INTEGER NOT NULL DEFAULT 0,
    DROP CONSTRAINT pipeline_versions_pkey,
    ADD PRIMARY KEY (tenant, generation, pipeline_id, version);

ALTER TABLE read.signals
    ADD COLUMN generation INTEGER NOT NULL DEFAULT 0,
    DROP CONSTRAINT signals_pkey,
    ADD PRIMARY KEY (tenant, generation, site, number);
DROP INDEX read.signals_name, read.signals_changed;
CREATE UNIQUE INDEX signals_name ON read.signals (tenant, generation, site, name);
CREATE INDEX signals_changed ON read.signals (tenant, generation, partition, changed_offset);

ALTER TABLE read.signal_latest
    ADD COLUMN generation INTEGER NOT NULL DEFAULT 0,
    DROP CONSTRAINT signal_latest_pkey,
    ADD PRIMARY KEY (tenant, generation, site, number);
ALTER TABLE read.signal_history
    ADD COLUMN generation INTEGER NOT NULL DEFAULT 0,
    DROP CONSTRAINT signal_history_pkey,
    ADD PRIMARY KEY (tenant, generation, site, number, source_time);
DROP INDEX read.signal_history_offset;
CREATE INDEX signal_history_offset ON read.signal_history (tenant, generation, partition, log_offset);
ALTER TABLE read.signal_seen
    ADD COLUMN generation INTEGER NOT NULL DEFAULT 0,
    DROP CONSTRAINT signal_seen_pkey,
    ADD PRIMARY KEY (tenant, generation, topic, partition, collector, epoch);
ALTER TABLE read.signal_reject
    ADD COLUMN generation INTEGER NOT NULL DEFAULT 0,
    DROP CONSTRAINT signal_reject_pkey,
    ADD PRIMARY KEY (tenant, generation, topic, partition, log_offset);

ALTER TABLE read.audit
    ADD COLUMN generation INTEGER NOT NULL DEFAULT 0,
    DROP CONSTRAINT audit_pkey,
    ADD PRIMARY KEY (tenant, generation, id);
DROP INDEX read.audit_offset, read.audit_decided, read.audit_subject_log;
CREATE UNIQUE INDEX audit_offset ON read.audit (tenant, generation, partition, log_offset);
CREATE INDEX audit_decided ON read.audit (tenant, generation, decided_at, partition, log_offset);
CREATE INDEX audit_subject_log ON read.audit (tenant, generation, subject, decided_at, partition, log_offset);
ALTER TABLE read.audit_state
    ADD COLUMN generation INTEGER NOT NULL DEFAULT 0,
    DROP CONSTRAINT audit_state_pkey,
    ADD PRIMARY KEY (tenant, generation, subject);

-- Whoever writes rows must say of which generation; a forgotten one shall fail and not fall into generation 0.
ALTER TABLE read.projection_offset ALTER COLUMN generation DROP DEFAULT;
ALTER TABLE read.projection_head ALTER COLUMN generation DROP DEFAULT;
ALTER TABLE read.lots ALTER COLUMN generation DROP DEFAULT;
ALTER TABLE read.genealogy ALTER COLUMN generation DROP DEFAULT;
ALTER TABLE read.qc_decisions ALTER COLUMN generation DROP DEFAULT;
ALTER TABLE read.pipelines ALTER COLUMN generation DROP DEFAULT;
ALTER TABLE read.pipeline_versions ALTER COLUMN generation DROP DEFAULT;
ALTER TABLE read.signals ALTER COLUMN generation DROP DEFAULT;
ALTER TABLE read.signal_latest ALTER COLUMN generation DROP DEFAULT;
ALTER TABLE read.signal_history ALTER COLUMN generation DROP DEFAULT;
ALTER TABLE read.signal_seen ALTER COLUMN generation DROP DEFAULT;
ALTER TABLE read.signal_reject ALTER COLUMN generation DROP DEFAULT;
ALTER TABLE read.audit ALTER COLUMN generation DROP DEFAULT;
ALTER TABLE read.audit_state ALTER COLUMN generation DROP DEFAULT;
