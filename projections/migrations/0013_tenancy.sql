-- Read models are read in a role of the tenant, 'lotline_app:dairy' or 'lotline_read:dairy', and PostgreSQL shows it that tenant's rows only.
-- They are written by the owner, which is not bound: PostgreSQL refuses COPY under row-level security.

DO $$
BEGIN
    IF to_regrole('lotline_app') IS NULL THEN
        CREATE ROLE lotline_app NOLOGIN;
    END IF;
EXCEPTION
    -- Roles belong to the whole cluster: another database, or one migrated at the same moment, has made it.
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;
DO $$
BEGIN
    IF to_regrole('lotline_read') IS NULL THEN
        CREATE ROLE lotline_read NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;

GRANT USAGE ON SCHEMA read TO lotline_app, lotline_read;

-- For the migration that makes a table: lets those read who may, each the rows of their tenant.
CREATE FUNCTION read.bind_to_tenant(target REGCLASS) RETURNS VOID LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    -- The subquery is evaluated once a statement. A role without a tenant in its name gives '', which is no tenant.
    EXECUTE format(
        'CREATE POLICY of_tenant ON %s USING (tenant = (SELECT split_part(current_user::text COLLATE "default", '':'', 2)))', target
    );
    EXECUTE format('GRANT SELECT ON %s TO lotline_app, lotline_read', target);
END
$$;
REVOKE EXECUTE ON FUNCTION read.bind_to_tenant(REGCLASS) FROM PUBLIC;

SELECT read.bind_to_tenant(target::REGCLASS) FROM UNNEST(ARRAY[
    'read.projection_offset', 'read.projection_head', 'read.projection_halt', 'read.projection_generation', 'read.projection_skip',
    'read.lots', 'read.genealogy', 'read.qc_decisions', 'read.pipelines', 'read.pipeline_versions', 'read.signals', 'read.signal_latest',
    'read.signal_history', 'read.signal_seen', 'read.signal_reject', 'read.audit', 'read.audit_state', 'read.access_sites',
    'read.access_users', 'read.access_memberships', 'read.access_keys', 'read.access_grants'
]) AS u (target);
