/// Who may do what: three roles that nobody logs in as, to be granted to those who do.
let migration0007Roles = Migration(
    version: 7, name: "roles",
    sql: """
        \(rolesSQL)

        DO $$
        DECLARE
            item record;
        BEGIN
            IF NOT pg_has_role(current_user, 'qoe_owner', 'MEMBER') THEN
                BEGIN
                    EXECUTE format('GRANT qoe_owner TO %I', current_user);
                EXCEPTION
                WHEN unique_violation THEN
                    -- Another database's migration was faster.
                    NULL;
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'the role % is no member of qoe_owner; an administrator can run: GRANT qoe_owner TO %',
                            current_user, quote_ident(current_user)
                        USING ERRCODE = 'insufficient_privilege';
                END;
            END IF;
            BEGIN
                EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO qoe_owner', current_schema());
                EXECUTE format('GRANT USAGE ON SCHEMA %I TO qoe_writer, qoe_reader', current_schema());
            EXCEPTION WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'the role % may not grant the schema % to others; migrate as the owner of the database',
                        current_user, current_schema()
                    USING ERRCODE = 'insufficient_privilege';
            END;
            FOR item IN
                SELECT c.oid::regclass AS name FROM pg_class AS c
                WHERE c.relnamespace = current_schema()::regnamespace AND (c.relname IN (
                        'agg_1m', 'partition_progress', 'probe_sessions', 'probe_gaps',
                        'window_changes', 'dead_letters', 'lost_ranges', 'crash_ledger', 'probes',
                        'probe_states', 'aggregator_instances', 'stream_trims', 'schema_migrations')
                    OR c.oid IN (SELECT inhrelid FROM pg_inherits
                        WHERE inhparent = to_regclass('agg_1m')))
            LOOP
                EXECUTE format('ALTER TABLE %s OWNER TO qoe_owner', item.name);
                EXECUTE format('GRANT SELECT ON %s TO qoe_reader, qoe_writer', item.name);
            END LOOP;
            FOR item IN
                SELECT oid::regprocedure AS name FROM pg_proc
                WHERE pronamespace = current_schema()::regnamespace AND proname LIKE 'qoe\\_%'
            LOOP
                EXECUTE format('ALTER ROUTINE %s OWNER TO qoe_owner', item.name);
            END LOOP;
            ALTER TYPE qoe_cell OWNER TO qoe_owner;

            -- Partitions and later tables can be read by themselves, too.
            EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE qoe_owner IN SCHEMA %I
                GRANT SELECT ON TABLES TO qoe_reader, qoe_writer', current_schema());
            -- For backups by a reader.
            EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE qoe_owner IN SCHEMA %I
                GRANT SELECT ON SEQUENCES TO qoe_reader', current_schema());
            -- Made for whoever writes, by the owner; the path is fixed, so that nobody can put objects of
            -- the same names before ours.
            EXECUTE format('ALTER FUNCTION qoe_ensure_partitions(date, date)
                SECURITY DEFINER SET search_path = %I, pg_temp', current_schema());
        END $$;
        REVOKE ALL ON FUNCTION qoe_ensure_partitions(date, date) FROM PUBLIC;
        GRANT EXECUTE ON FUNCTION qoe_ensure_partitions(date, date) TO qoe_writer;

        GRANT INSERT, UPDATE ON agg_1m, partition_progress, probes, stream_trims, lost_ranges
            TO qoe_writer;
        GRANT INSERT, UPDATE, DELETE ON probe_sessions, window_changes, dead_letters,
            crash_ledger, aggregator_instances TO qoe_writer;
        """)

/// Makes the roles that are missing. Roles belong to the whole cluster, so another database may have
/// made them; a backup of one database does not contain them.
///
/// Part of a migration, so it never changes.
let rolesSQL = """
    DO $$
    DECLARE
        wanted text;
    BEGIN
        FOREACH wanted IN ARRAY ARRAY['qoe_owner', 'qoe_writer', 'qoe_reader'] LOOP
            CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = wanted);
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN
                    NULL;
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'the role % does not exist, and % may not create it; an administrator can run: CREATE ROLE qoe_owner NOLOGIN; CREATE ROLE qoe_writer NOLOGIN; CREATE ROLE qoe_reader NOLOGIN; GRANT qoe_owner TO %',
                            wanted, current_user, quote_ident(current_user)
                        USING ERRCODE = 'insufficient_privilege';
            END;
        END LOOP;
    END $$;
    """
