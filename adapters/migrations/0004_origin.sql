-- Which log this database follows. Offsets, snapshots and read models mean nothing in another one.

CREATE TABLE log.origin (
    topic text PRIMARY KEY,
    kind  text NOT NULL
);

GRANT SELECT ON log.origin TO lotline_app;
