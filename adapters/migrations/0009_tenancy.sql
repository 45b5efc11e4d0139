-- Rows are of a tenant, and PostgreSQL itself shows and takes only those of the tenant for which a connection works.
--
-- Which one that is says the role: 'lotline_app:dairy' works for the tenant 'dairy'. A setting could be changed by any statement; a role only by
-- who is a member of another. A role without a tenant in its name sees no row at all. Owners are not bound, because the projections write by
-- COPY, which PostgreSQL refuses under row-level security.

DO $$
BEGIN
    -- Somebody who may not create roles is refused even one that is there.
    IF to_regrole('lotline_read') IS NULL THEN
        CREATE ROLE lotline_read NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;

-- Makes the roles of a tenant, in which the server and those who only read work. Again changes nothing.
CREATE FUNCTION log.admit_tenant(tenant text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind text;
    tenants_role text;
    may_become boolean;
BEGIN
    FOREACH kind IN ARRAY ARRAY['lotline_app', 'lotline_read'] LOOP
        tenants_role := kind || ':' || tenant;
        -- PostgreSQL would cut a longer name, and what is left may be that of another tenant.
        IF octet_length(tenants_role) > 63 THEN
            RAISE EXCEPTION 'the tenant id % is too long for the name of a role', tenant USING ERRCODE = 'name_too_long';
        END IF;
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname::text = tenants_role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN IN ROLE %I', tenants_role, kind);
            EXCEPTION
                -- Roles belong to the whole cluster: another database has made it at the same moment.
                WHEN duplicate_object OR unique_violation THEN NULL;
            END;
        END IF;
        -- Made by hand, or before a restore.
        IF NOT pg_has_role(tenants_role, kind, 'USAGE') THEN
            EXECUTE format('GRANT %I TO %I', kind, tenants_role);
        END IF;
        IF current_setting('server_version_num')::integer >= 160000 THEN
            may_become := pg_has_role(current_user, tenants_role, 'SET');
        ELSE
            may_become := pg_has_role(current_user, tenants_role, 'MEMBER');
        END IF;
        -- So that a server that signs in as the owner can work in the role; a superuser needs no membership.
        IF NOT may_become THEN
            BEGIN
                EXECUTE format('GRANT %I TO %I', tenants_role, current_user);
            EXCEPTION
                WHEN unique_violation THEN NULL;
            END;
        END IF;
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION log.admit_tenant(text) FROM PUBLIC;

-- With what the nodes of a tenant sign what they forward to each other; whichever starts first makes it. The secret before it was the
-- installation's, by which the server of one tenant could have signed for the nodes of another. Its table stays, for backups of before fit in.
CREATE TABLE vault.node_secret (
    tenant text PRIMARY KEY,
    secret bytea NOT NULL CHECK (octet_length(secret) = 32)
);
GRANT SELECT, INSERT ON vault.node_secret TO lotline_app;
REVOKE ALL ON vault.cluster_secret FROM lotline_app;

-- The policies of tables with a column `tenant`. The subquery is evaluated once a statement.
DO $$
DECLARE
    target text;
BEGIN
    FOREACH target IN ARRAY ARRAY[
        'vault.personal_key', 'vault.node_secret', 'access.login_secret', 'access.login', 'access.strikes', 'access.password', 'access.link', 'access.session',
        'access.refresh_token', 'access.signing_key', 'access.api_key', 'access.proof', 'access.sign_on_subject', 'access.sign_on_attempt'
    ] LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
        EXECUTE format(
            'CREATE POLICY of_tenant ON %s USING (tenant = (SELECT split_part(current_user::text COLLATE "default", '':'', 2)))', target
        );
    END LOOP;
END
$$;

-- Those of tables by topic, whose name has the tenant within: 'lotline.dairy.ledger.v1'. Who asks for a topic asks for their own, so the planner
-- must not expect that this leaves few rows, or it reads and sorts all of a partition for a batch: it takes IS NOT NULL for nearly always true.
DO $$
DECLARE
    target text;
BEGIN
    FOREACH target IN ARRAY ARRAY['log.topic', 'log.partition', 'log.record', 'log.snapshot', 'log.origin', 'cluster.owner'] LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
        EXECUTE format(
            'CREATE POLICY of_tenant ON %s USING (
                 nullif(starts_with(topic, (SELECT ''lotline.'' || split_part(current_user::text COLLATE "default", '':'', 2) || ''.'')), false)
                     IS NOT NULL
             )', target
        );
    END LOOP;
END
$$;

-- A pool is a kind of work and a topic: 'writers/lotline.dairy.ledger.v1'.
ALTER TABLE cluster.member ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON cluster.member USING (
    starts_with(split_part(pool, '/', 2), (SELECT 'lotline.' || split_part(current_user::text COLLATE "default", ':', 2) || '.'))
);
ALTER TABLE cluster.lease ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON cluster.lease USING (
    starts_with(split_part(pool, '/', 2), (SELECT 'lotline.' || split_part(current_user::text COLLATE "default", ':', 2) || '.'))
);
