-- What applying an event looks up by key is found by the one index that begins with the generation and that key; all others begin with the
-- tenant. Where every index begins with the tenant and the generation, a planner whose statistics are older than the generation takes any of
-- them, and reads all of it. A generation's entries still stand together, so a new one does not tear the pages of the old one apart.

ALTER TABLE read.lots DROP CONSTRAINT lots_pkey, ADD PRIMARY KEY (generation, id, tenant);
ALTER TABLE read.pipelines DROP CONSTRAINT pipelines_pkey, ADD PRIMARY KEY (generation, id, tenant);
ALTER TABLE read.audit_state DROP CONSTRAINT audit_state_pkey, ADD PRIMARY KEY (generation, subject, tenant);
DROP INDEX read.audit_subject_log;
CREATE INDEX audit_subject_log ON read.audit (generation, subject, decided_at, partition, log_offset, tenant);
