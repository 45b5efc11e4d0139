-- Folded states of partitions, in chunks. They can be rebuilt from the log at any time.

CREATE TABLE log.snapshot (
    topic     text NOT NULL,
    partition integer NOT NULL,
    format    bigint NOT NULL,
    position  bigint NOT NULL,
    chunk     integer NOT NULL,
    chunks    integer NOT NULL,
    data      bytea NOT NULL,
    PRIMARY KEY (topic, partition, format, position, chunk),
    CHECK (chunk BETWEEN 0 AND chunks - 1)
);

-- Snapshots are packed by who encodes them.
ALTER TABLE log.snapshot ALTER COLUMN data SET STORAGE EXTERNAL;

GRANT SELECT, INSERT, DELETE ON log.snapshot TO lotline_app;
