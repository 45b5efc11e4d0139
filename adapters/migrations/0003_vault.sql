-- Keys of personal data. Not in the log and not to be rebuilt from it: this schema is backed up by itself.

CREATE SCHEMA vault;

CREATE TABLE vault.personal_key (
    tenant     text NOT NULL,
    actor      text NOT NULL,
    id         uuid NOT NULL,
    secret     bytea NOT NULL CHECK (octet_length(secret) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, actor)
);

GRANT USAGE ON SCHEMA vault TO lotline_app;
GRANT SELECT, INSERT, DELETE ON vault.personal_key TO lotline_app;
