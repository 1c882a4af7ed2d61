/// The per-minute aggregates, their day partitions, and the type in which rows are sent.
let migration0001Aggregates = Migration(
    version: 1, name: "aggregates",
    sql: """
        CREATE TABLE agg_1m (
            -- Names are compared byte by byte, here as in the programs.
            client_id text COLLATE "C" NOT NULL,
            target text COLLATE "C" NOT NULL,
            window_start_ts timestamptz NOT NULL,
            count_total bigint NOT NULL,
            count_success bigint NOT NULL,
            count_error bigint NOT NULL,
            dns_error_count bigint NOT NULL,
            tcp_error_count bigint NOT NULL,
            tls_error_count bigint NOT NULL,
            http_error_count bigint NOT NULL,
            throughput_error_count bigint NOT NULL,
            late_count bigint NOT NULL,
            network_type text,
            isp text,
            asn bigint,
            region text,
            source_ip text,
            resolver text,
            context_ts_ms bigint,
            diagnosis_label text,
            diagnosed_at timestamptz,
            generation integer NOT NULL,
            last_seq bigint NOT NULL,
            updated_at timestamptz NOT NULL,
            PRIMARY KEY (client_id, target, window_start_ts)
        ) PARTITION BY RANGE (window_start_ts);

        -- For questions about a time span over all clients: rows arrive by time, so a range of
        -- pages is a range of times. Not a B-tree, which costs every insert, and which the
        -- planner would sometimes prefer to the key when it looks up single rows.
        CREATE INDEX agg_1m_window_start_ts ON agg_1m USING brin (window_start_ts)
            WITH (pages_per_range = 32, autosummarize = on);

        COMMENT ON TABLE agg_1m IS
            'One row per client, target and minute (UTC): the complete state of the aggregate. Measured values are integers in millionths of their unit, so that the order of events cannot change a row.';
        COMMENT ON COLUMN agg_1m.client_id IS 'The probe; compared byte by byte.';
        COMMENT ON COLUMN agg_1m.target IS 'What was measured; compared byte by byte.';
        COMMENT ON COLUMN agg_1m.window_start_ts IS 'The minute''s first instant; events belong to the minute of their ts_ms.';
        COMMENT ON COLUMN agg_1m.count_total IS 'Events counted, each once: count_success + count_error.';
        COMMENT ON COLUMN agg_1m.count_success IS 'Events without an error_stage.';
        COMMENT ON COLUMN agg_1m.count_error IS 'Events with an error_stage: the sum of the five counts by stage.';
        COMMENT ON COLUMN agg_1m.dns_error_count IS 'Events that failed while resolving the name.';
        COMMENT ON COLUMN agg_1m.tcp_error_count IS 'Events that failed in the TCP handshake.';
        COMMENT ON COLUMN agg_1m.tls_error_count IS 'Events that failed in the TLS handshake.';
        COMMENT ON COLUMN agg_1m.http_error_count IS 'Events that failed in the HTTP exchange.';
        COMMENT ON COLUMN agg_1m.throughput_error_count IS 'Events that failed in the throughput measurement.';
        COMMENT ON COLUMN agg_1m.late_count IS 'Events received more than two minutes after the end of the window; they count like all others.';
        COMMENT ON COLUMN agg_1m.network_type IS 'From the newest event of the window; NULL when it did not say. So are isp, asn, region, source_ip and resolver.';
        COMMENT ON COLUMN agg_1m.isp IS 'Internet service provider, as the probe knows it; NULL when unknown.';
        COMMENT ON COLUMN agg_1m.asn IS 'Autonomous system number; NULL when unknown.';
        COMMENT ON COLUMN agg_1m.region IS 'Region, as the probe knows it; NULL when unknown.';
        COMMENT ON COLUMN agg_1m.source_ip IS 'Address the measurement left from; NULL when unknown.';
        COMMENT ON COLUMN agg_1m.resolver IS 'Address of the DNS resolver in use; NULL when unknown.';
        COMMENT ON COLUMN agg_1m.context_ts_ms IS 'Unix ms: ts_ms of the event that the network context is from.';
        COMMENT ON COLUMN agg_1m.diagnosis_label IS 'Written by the diagnoser alone: healthy, dns-bound, handshake-bound, server-bound or throughput-bound; NULL until diagnosed, and when nothing was measured.';
        COMMENT ON COLUMN agg_1m.diagnosed_at IS 'The updated_at of the state that the label was made from: the label is current while both are equal.';
        COMMENT ON COLUMN agg_1m.generation IS 'Generation of the stream that last_seq counts in.';
        COMMENT ON COLUMN agg_1m.last_seq IS 'Stream sequence of the last message that touched the row; a write with an older one is refused.';
        COMMENT ON COLUMN agg_1m.updated_at IS 'Start of the transaction that wrote the row''s state; labels do not change it.';

        -- The metrics: the same eight columns each. A sketch is DDSketch buckets (51/50 per
        -- bucket), one element per occupied bucket: bucket << 40 | count, ascending.
        DO $$
        DECLARE
            metric record;
            columns text := '';
        BEGIN
            FOR metric IN
                SELECT * FROM (VALUES
                    (1, 'dns', 'ms', 'Time to resolve the name'),
                    (2, 'tcp', 'ms', 'Time of the TCP handshake'),
                    (3, 'tls', 'ms', 'Time of the TLS handshake'),
                    (4, 'ttfb', 'ms', 'Time from request to first byte'),
                    (5, 'throughput', 'Mbit/s', 'Rate at which the body arrived'),
                    (6, 'total', 'ms', 'Time from first lookup to last byte'),
                    (7, 'rtt', 'ms', 'Round-trip time'),
                    (8, 'jitter', 'ms', 'Variation of the round-trip time'),
                    (9, 'loss', '%', 'Share of packets lost'),
                    (10, 'loaded_rtt', 'ms', 'Round-trip time under load')
                ) AS m (position, name, unit, meaning) ORDER BY position
            LOOP
                EXECUTE format('ALTER TABLE agg_1m
                    ADD COLUMN %1$s_count bigint NOT NULL DEFAULT 0,
                    ADD COLUMN %1$s_sum bigint,
                    ADD COLUMN %1$s_min double precision,
                    ADD COLUMN %1$s_max double precision,
                    ADD COLUMN %1$s_p50 double precision,
                    ADD COLUMN %1$s_p95 double precision,
                    ADD COLUMN %1$s_p99 double precision,
                    ADD COLUMN %1$s_sketch bigint[]', metric.name);
                EXECUTE format('COMMENT ON COLUMN agg_1m.%s_count IS %L', metric.name,
                    metric.meaning || ': how many events measured it.');
                EXECUTE format('COMMENT ON COLUMN agg_1m.%s_sum IS %L', metric.name,
                    metric.meaning || ': exact sum in millionths of ' || metric.unit
                    || '; NULL when nothing was measured.');
                EXECUTE format('COMMENT ON COLUMN agg_1m.%s_min IS %L', metric.name,
                    metric.meaning || ', ' || metric.unit || ': exact minimum; NULL when nothing was measured.');
                EXECUTE format('COMMENT ON COLUMN agg_1m.%s_max IS %L', metric.name,
                    metric.meaning || ', ' || metric.unit || ': exact maximum; NULL when nothing was measured.');
                EXECUTE format('COMMENT ON COLUMN agg_1m.%s_p50 IS %L', metric.name,
                    metric.meaning || ', ' || metric.unit || ': median within 1 %; NULL when nothing was measured.');
                EXECUTE format('COMMENT ON COLUMN agg_1m.%s_p95 IS %L', metric.name,
                    metric.meaning || ', ' || metric.unit || ': 95th percentile within 1 %; NULL when nothing was measured.');
                EXECUTE format('COMMENT ON COLUMN agg_1m.%s_p99 IS %L', metric.name,
                    metric.meaning || ', ' || metric.unit || ': 99th percentile within 1 %; NULL when nothing was measured.');
                EXECUTE format('COMMENT ON COLUMN agg_1m.%s_sketch IS %L', metric.name,
                    metric.meaning || ': DDSketch of the values in millionths of ' || metric.unit
                    || '; one element bucket << 40 | count per occupied bucket, ascending; NULL when nothing was measured.');
                columns := columns || format('
                    %1$s_count bigint, %1$s_sum bigint, %1$s_min double precision,
                    %1$s_max double precision, %1$s_p50 double precision, %1$s_p95 double precision,
                    %1$s_p99 double precision, %1$s_sketch bigint[],', metric.name);
            END LOOP;
            -- Rows are sent as one array of this type. A later column needs a type of another
            -- name, since programs of the old version send the old one during an upgrade.
            EXECUTE 'CREATE TYPE qoe_cell AS (
                client_id text, target text, window_start_ts timestamptz, count_total bigint,
                count_success bigint, count_error bigint, dns_error_count bigint,
                tcp_error_count bigint, tls_error_count bigint, http_error_count bigint,
                throughput_error_count bigint, late_count bigint,' || columns || '
                network_type text, isp text, asn bigint, region text, source_ip text,
                resolver text, context_ts_ms bigint, last_seq bigint)';
        END $$;
        COMMENT ON TYPE qoe_cell IS 'A row of agg_1m as the aggregator sends it.';

        CREATE FUNCTION qoe_ensure_partitions(from_day date, to_day date) RETURNS integer
        LANGUAGE plpgsql SET timezone = 'UTC' AS $$
        DECLARE
            day date;
            partition_name text;
            made integer := 0;
        BEGIN
            FOR day IN SELECT generate_series(from_day, to_day, interval '1 day')::date LOOP
                partition_name := 'agg_1m_' || to_char(day, 'YYYYMMDD');
                CONTINUE WHEN EXISTS (SELECT FROM pg_inherits JOIN pg_class ON oid = inhrelid
                    WHERE inhparent = 'agg_1m'::regclass AND relname = partition_name);
                -- One at a time, without stopping readers and writers; whoever waited finds the
                -- partition there.
                LOCK TABLE agg_1m IN SHARE UPDATE EXCLUSIVE MODE;
                CONTINUE WHEN EXISTS (SELECT FROM pg_inherits JOIN pg_class ON oid = inhrelid
                    WHERE inhparent = 'agg_1m'::regclass AND relname = partition_name);
                -- Attaching does not lock out readers and writers of the table, as
                -- CREATE TABLE ... PARTITION OF would.
                EXECUTE format('CREATE TABLE %I (LIKE agg_1m INCLUDING ALL) WITH (fillfactor = 70)',
                    partition_name);
                EXECUTE format('ALTER TABLE agg_1m ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                    partition_name, day::timestamptz, (day + 1)::timestamptz);
                made := made + 1;
            END LOOP;
            RETURN made;
        END $$;
        COMMENT ON FUNCTION qoe_ensure_partitions(date, date) IS
            'Makes the missing day partitions (UTC) of agg_1m from the first to the last day, both included; returns how many it made. Safe to run at any time and several times at once.';

        SELECT qoe_ensure_partitions(
            (now() AT TIME ZONE 'UTC')::date - 30, (now() AT TIME ZONE 'UTC')::date + 7);
        """)
