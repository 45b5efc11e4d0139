-- How far the nodes of a ledger have heard the tenant's own stream, as a sequence, which is the same in whatever log the ledger is: a node that
-- stays behind does not know any more who may do what.

CREATE TABLE cluster.heard (
    topic    text PRIMARY KEY,
    sequence bigint NOT NULL CHECK (sequence >= 0)
);

GRANT SELECT, INSERT, UPDATE ON cluster.heard TO lotline_app;

ALTER TABLE cluster.heard ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON cluster.heard USING (
    starts_with(topic, (SELECT 'lotline.' || split_part(current_user::text COLLATE "default", ':', 2) || '.'))
);
