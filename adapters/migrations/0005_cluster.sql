-- While the ledger is copied into another kind of log, nobody writes it: what came after would be lost.
ALTER TABLE log.origin ADD COLUMN moving_to text;

-- What the nodes of one installation know of each other. All of it can be lost: it fills again within seconds.

CREATE SCHEMA cluster;

-- Where the writer of a partition listens. A hint: the log decides who writes.
CREATE TABLE cluster.owner (
    topic        text NOT NULL,
    partition    integer NOT NULL CHECK (partition >= 0),
    node         text NOT NULL,
    address      text NOT NULL,
    epoch        bigint NOT NULL,
    announced_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, partition)
);

-- Living nodes of a pool that shares work.
CREATE TABLE cluster.member (
    pool    text NOT NULL,
    node    text NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (pool, node)
);

-- Pieces of a pool's work, each with one holder until its time is over.
CREATE TABLE cluster.lease (
    pool  text NOT NULL,
    item  integer NOT NULL CHECK (item >= 0),
    node  text NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (pool, item)
);

GRANT USAGE ON SCHEMA cluster TO lotline_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON cluster.owner, cluster.member, cluster.lease TO lotline_app;

-- With what nodes sign what they forward to each other. One row.
CREATE TABLE vault.cluster_secret (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    secret   bytea NOT NULL CHECK (octet_length(secret) = 32)
);

GRANT SELECT, INSERT ON vault.cluster_secret TO lotline_app;
