-- The embedded log: an append-only table, fenced writers, and the role that serves it without owning it.

-- There already when Lotline migrates, whose record of migrations is in it.
CREATE SCHEMA IF NOT EXISTS log;

DO $$
BEGIN
    CREATE ROLE lotline_app NOLOGIN;
EXCEPTION
    -- Roles belong to the whole cluster: another database, or one migrated at the same moment, has made it.
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;

-- So that the owner may SET ROLE; a superuser needs no membership.
DO $$
BEGIN
    IF NOT pg_has_role(current_user, 'lotline_app', 'MEMBER') THEN
        EXECUTE format('GRANT lotline_app TO %I', current_user);
    END IF;
END
$$;

CREATE TABLE log.topic (
    topic      text PRIMARY KEY,
    partitions integer NOT NULL CHECK (partitions > 0),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The row of a partition is its lock: whoever appends holds it. `epoch` names the writer, `next` the next position.
CREATE TABLE log.partition (
    topic     text NOT NULL REFERENCES log.topic (topic),
    partition integer NOT NULL CHECK (partition >= 0),
    epoch     bigint NOT NULL DEFAULT 0,
    next      bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

-- `headers` is a JSON array of pairs. The type is json, not jsonb: the text stays as it was written.
CREATE TABLE log.record (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    position    bigint NOT NULL CHECK (position >= 0),
    key         text NOT NULL,
    headers     json NOT NULL,
    value       bytea NOT NULL,
    appended_at timestamptz NOT NULL DEFAULT now(),
    -- No foreign key to log.partition: it would be looked up again for each record of a batch.
    PRIMARY KEY (topic, partition, position)
);

CREATE FUNCTION log.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on log.record is refused: the log is only ever appended to', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON log.record
    FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change();

-- Also in sessions that call themselves a replica, which skip ordinary triggers.
ALTER TABLE log.record ENABLE ALWAYS TRIGGER append_only;

GRANT USAGE ON SCHEMA log TO lotline_app;
GRANT SELECT, INSERT ON log.topic, log.record TO lotline_app;
GRANT SELECT, INSERT, UPDATE (epoch, next) ON log.partition TO lotline_app;
