-- What applying an event looks up by key is found by an index that begins with that key, and by no other. Where every index begins with
-- the tenant and the generation, a planner whose statistics are older than the generation takes any of them, and reads all of it.

ALTER TABLE read.lots DROP CONSTRAINT lots_pkey, ADD PRIMARY KEY (id, generation, tenant);
ALTER TABLE read.pipelines DROP CONSTRAINT pipelines_pkey, ADD PRIMARY KEY (id, generation, tenant);
ALTER TABLE read.audit_state DROP CONSTRAINT audit_state_pkey, ADD PRIMARY KEY (subject, generation, tenant);
DROP INDEX read.audit_subject_log;
CREATE INDEX audit_subject_log ON read.audit (subject, decided_at, partition, log_offset, generation, tenant);
