-- Secrets by which people and programs prove who they are. Not in the log and not to be rebuilt from it: names, passwords and keys are backed
-- up by themselves; sessions, links and signing keys are not, for a restored one would be good again.

CREATE SCHEMA access;

-- Keys the digests of a tenant's login names.
CREATE TABLE access.login_secret (
    tenant text PRIMARY KEY,
    secret bytea NOT NULL CHECK (octet_length(secret) = 32)
);

-- A row without `confirmed_at` is a reservation.
CREATE TABLE access.login (
    tenant       text NOT NULL,
    name         bytea NOT NULL CHECK (octet_length(name) = 32),
    user_id      uuid NOT NULL,
    reserved_at  timestamptz NOT NULL,
    confirmed_at timestamptz,
    PRIMARY KEY (tenant, name)
);

CREATE UNIQUE INDEX login_of_user ON access.login (tenant, user_id) WHERE confirmed_at IS NOT NULL;

-- By name and not by user, so that names nobody has are counted too.
CREATE TABLE access.strikes (
    tenant         text NOT NULL,
    name           bytea NOT NULL CHECK (octet_length(name) = 32),
    failures       bigint NOT NULL CHECK (failures > 0),
    last_failed_at timestamptz NOT NULL,
    locked_until   timestamptz NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE access.password (
    tenant     text NOT NULL,
    user_id    uuid NOT NULL,
    phc        text NOT NULL CHECK (phc LIKE '$argon2id$%'),
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, user_id)
);

CREATE TABLE access.link (
    digest     bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    tenant     text NOT NULL,
    purpose    text NOT NULL CHECK (purpose IN ('setup', 'invitation', 'password_reset')),
    user_id    uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);

CREATE INDEX link_of_user ON access.link (tenant, user_id);

-- `generation` is the number of the refresh token that is good now.
CREATE TABLE access.session (
    tenant           text NOT NULL,
    session          uuid NOT NULL,
    user_id          uuid NOT NULL,
    client           text NOT NULL,
    generation       bigint NOT NULL CHECK (generation > 0),
    started_at       timestamptz NOT NULL,
    refreshed_at     timestamptz NOT NULL,
    token_expires_at timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    ended_at         timestamptz,
    end_reason       text,
    PRIMARY KEY (tenant, session),
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
);

CREATE INDEX session_of_user ON access.session (tenant, user_id) WHERE ended_at IS NULL;
CREATE INDEX session_ended ON access.session (tenant, ended_at) WHERE ended_at IS NOT NULL;

-- Used ones stay as long as their session, so that one that comes again is known.
CREATE TABLE access.refresh_token (
    digest     bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    tenant     text NOT NULL,
    session    uuid NOT NULL,
    generation bigint NOT NULL,
    FOREIGN KEY (tenant, session) REFERENCES access.session (tenant, session) ON DELETE CASCADE
);

CREATE INDEX refresh_token_of_session ON access.refresh_token (tenant, session);

-- `private_key` is the seed, or when `sealed` its encryption under the key that configuration gives.
CREATE TABLE access.signing_key (
    tenant      text NOT NULL,
    generation  bigint NOT NULL CHECK (generation > 0),
    public_key  bytea NOT NULL CHECK (octet_length(public_key) = 32),
    private_key bytea NOT NULL,
    sealed      boolean NOT NULL,
    signs_from  timestamptz NOT NULL,
    PRIMARY KEY (tenant, generation),
    CHECK (octet_length(private_key) = CASE WHEN sealed THEN 60 ELSE 32 END)
);

CREATE TABLE access.api_key (
    tenant       text NOT NULL,
    prefix       text NOT NULL CHECK (length(prefix) = 12),
    id           uuid NOT NULL,
    digest       bytea NOT NULL CHECK (octet_length(digest) = 32),
    last_used_at timestamptz,
    PRIMARY KEY (tenant, prefix),
    UNIQUE (tenant, id)
);

CREATE TABLE access.proof (
    digest     bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    tenant     text NOT NULL,
    user_id    uuid NOT NULL,
    session    uuid NOT NULL,
    command    bytea NOT NULL CHECK (octet_length(command) = 32),
    expires_at timestamptz NOT NULL
);

-- What the server does with each, and no more. None can be emptied by TRUNCATE, and no secret be changed where it is only made and destroyed.
GRANT USAGE ON SCHEMA access TO lotline_app;
GRANT SELECT, INSERT ON access.login_secret TO lotline_app;
GRANT SELECT, INSERT, DELETE, UPDATE (user_id, reserved_at, confirmed_at) ON access.login TO lotline_app;
GRANT SELECT, INSERT, DELETE, UPDATE (failures, last_failed_at, locked_until) ON access.strikes TO lotline_app;
GRANT SELECT, INSERT, DELETE, UPDATE (phc, changed_at) ON access.password TO lotline_app;
GRANT SELECT, INSERT, DELETE, UPDATE (used_at) ON access.link TO lotline_app;
GRANT SELECT, INSERT, DELETE, UPDATE (generation, refreshed_at, token_expires_at, ended_at, end_reason) ON access.session TO lotline_app;
GRANT SELECT, INSERT ON access.refresh_token TO lotline_app;
GRANT SELECT, INSERT, DELETE, UPDATE (private_key, sealed) ON access.signing_key TO lotline_app;
GRANT SELECT, INSERT, DELETE, UPDATE (prefix, digest, last_used_at) ON access.api_key TO lotline_app;
GRANT SELECT, INSERT, DELETE ON access.proof TO lotline_app;
