-- Single sign-on by a provider of OpenID Connect.

-- Who somebody is to a provider. A user is one subject of a provider, for good: an address that goes to somebody else there takes nobody's place here.
CREATE TABLE access.sign_on_subject (
    tenant    text NOT NULL,
    issuer    text NOT NULL,
    subject   bytea NOT NULL CHECK (octet_length(subject) = 32),
    user_id   uuid NOT NULL,
    linked_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, issuer, subject),
    UNIQUE (tenant, issuer, user_id)
);

CREATE INDEX sign_on_subject_of_user ON access.sign_on_subject (tenant, user_id);

-- Ways back from a provider that were used, for as long as their cookies could come again.
CREATE TABLE access.sign_on_attempt (
    tenant     text NOT NULL,
    digest     bytea NOT NULL CHECK (octet_length(digest) = 32),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, digest)
);

GRANT SELECT, INSERT, DELETE ON access.sign_on_subject, access.sign_on_attempt TO lotline_app;
