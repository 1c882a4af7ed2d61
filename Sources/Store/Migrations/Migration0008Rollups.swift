/// Hours and days, over clients and targets and over dimensions of the fleet, merged exactly from the minutes.
let migration0008Rollups = Migration(
    version: 8, name: "rollups", runsAsOwner: true,
    sql: """
        -- What was measured, of many rows as of one: merging is associative, so a day can be made of
        -- hours as an hour is of minutes.
        CREATE TABLE agg_1h (
            client_id text COLLATE "C" NOT NULL,
            target text COLLATE "C" NOT NULL,
            window_start_ts timestamptz NOT NULL,
            \(mergedDefinitions),
            network_type text,
            isp text,
            asn bigint,
            region text,
            source_ip text,
            resolver text,
            context_ts_ms bigint,
            diagnosis_label text,
            minute_count bigint NOT NULL,
            updated_at timestamptz NOT NULL,
            PRIMARY KEY (client_id, target, window_start_ts)
        ) PARTITION BY RANGE (window_start_ts);
        CREATE INDEX agg_1h_window_start_ts ON agg_1h USING brin (window_start_ts)
            WITH (pages_per_range = 32, autosummarize = on);
        CREATE TABLE agg_1d (LIKE agg_1h INCLUDING INDEXES) PARTITION BY RANGE (window_start_ts);

        CREATE TABLE agg_dim_1h (
            dimension text NOT NULL,
            window_start_ts timestamptz NOT NULL,
            key text COLLATE "C" NOT NULL,
            target text COLLATE "C",
            network_type text,
            isp text,
            asn bigint,
            region text,
            resolver text,
            \(mergedDefinitions),
            minute_count bigint NOT NULL,
            updated_at timestamptz NOT NULL,
            PRIMARY KEY (dimension, window_start_ts, key)
        ) PARTITION BY RANGE (window_start_ts);
        CREATE TABLE agg_dim_1d (LIKE agg_dim_1h INCLUDING INDEXES)
            PARTITION BY RANGE (window_start_ts);

        COMMENT ON TABLE agg_1h IS
            'One row per client, target and hour (UTC): the minutes of agg_1m merged, with exact counts, sums, extremes and sketches. Made again whenever one of its minutes changes.';
        COMMENT ON TABLE agg_1d IS
            'One row per client, target and day (UTC): the hours of agg_1h merged. Made again whenever one of its hours changes.';
        COMMENT ON TABLE agg_dim_1h IS
            'One row per hour (UTC) and value of a dimension, over all clients: each minute counts for the network, provider and region that it was measured in.';
        COMMENT ON TABLE agg_dim_1d IS
            'One row per day (UTC) and value of a dimension: the hours of agg_dim_1h merged.';
        DO $$
        DECLARE
            rollup text;
            item record;
        BEGIN
            FOREACH rollup IN ARRAY ARRAY['agg_1h', 'agg_1d', 'agg_dim_1h', 'agg_dim_1d'] LOOP
                FOR item IN
                    SELECT r.attname AS name, col_description(m.attrelid, m.attnum) AS text
                    FROM pg_attribute AS r JOIN pg_attribute AS m USING (attname)
                    WHERE r.attrelid = rollup::regclass AND m.attrelid = 'agg_1m'::regclass
                        AND r.attnum > 0 AND m.attnum > 0
                LOOP
                    EXECUTE format('COMMENT ON COLUMN %I.%I IS %L', rollup, item.name, item.text);
                END LOOP;
                EXECUTE format('COMMENT ON COLUMN %I.window_start_ts IS %L', rollup,
                    'The first instant of the hour or day (UTC).');
                EXECUTE format('COMMENT ON COLUMN %I.minute_count IS %L', rollup,
                    'Rows of agg_1m in it: minutes in which a client measured a target.');
                EXECUTE format('COMMENT ON COLUMN %I.updated_at IS %L', rollup,
                    'Start of the transaction that last changed the row.');
                IF rollup IN ('agg_1h', 'agg_1d') THEN
                    EXECUTE format('COMMENT ON COLUMN %I.diagnosis_label IS %L', rollup,
                        'The label of most minutes (of a day: of most hours) that have one; of equals the first by name. NULL when none has.');
                ELSE
                    EXECUTE format('COMMENT ON COLUMN %I.dimension IS %L', rollup,
                        'Which columns the row is of: target, isp, asn, region, network_type, resolver, or a pair such as isp,target. The other ones are NULL.');
                    EXECUTE format('COMMENT ON COLUMN %I.key IS %L', rollup,
                        'The values of the dimension as a JSON array, for the primary key: isp, asn, region, network_type, resolver, target.');
                    EXECUTE format('COMMENT ON COLUMN %I.target IS %L', rollup,
                        'What was measured; NULL when the row is over all targets.');
                    FOR item IN SELECT unnest(ARRAY['isp', 'asn', 'region', 'network_type', 'resolver']) AS name LOOP
                        EXECUTE format('COMMENT ON COLUMN %I.%I IS %L', rollup, item.name,
                            'NULL when the dimension does not name it, and when the probes did not know it.');
                    END LOOP;
                END IF;
            END LOOP;
        END $$;

        GRANT INSERT, UPDATE ON agg_1h, agg_1d TO qoe_writer;
        -- A minute can move to another provider, and then the old one may have none left.
        GRANT INSERT, UPDATE, DELETE ON agg_dim_1h, agg_dim_1d TO qoe_writer;

        CREATE TABLE rollup_queue (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            level text NOT NULL CHECK (level IN ('1h', '1d')),
            window_start_ts timestamptz NOT NULL,
            noted_at timestamptz NOT NULL DEFAULT now()
        ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
        COMMENT ON TABLE rollup_queue IS
            'Hours and days that must be made again. Rows are only added, in the transaction that changed a minute, so writers never wait; whoever makes the hour takes the rows away that he saw before.';
        COMMENT ON COLUMN rollup_queue.id IS 'Counts.';
        COMMENT ON COLUMN rollup_queue.level IS '1h or 1d.';
        COMMENT ON COLUMN rollup_queue.window_start_ts IS 'The hour or day.';
        COMMENT ON COLUMN rollup_queue.noted_at IS 'Start of the transaction that changed something in it.';
        GRANT INSERT, DELETE ON rollup_queue TO qoe_writer;

        CREATE TABLE retention_floors (
            table_name text PRIMARY KEY,
            floor timestamptz NOT NULL,
            changed_at timestamptz NOT NULL
        );
        COMMENT ON TABLE retention_floors IS
            'How far back the tables go. What was made of older rows is never made again, since the rows are gone.';
        COMMENT ON COLUMN retention_floors.table_name IS 'The table.';
        COMMENT ON COLUMN retention_floors.floor IS 'Rows of windows that begin before this were removed.';
        COMMENT ON COLUMN retention_floors.changed_at IS 'Server time.';

        CREATE TABLE retired_partitions (
            partition_name text PRIMARY KEY,
            retired_at timestamptz NOT NULL
        );
        COMMENT ON TABLE retired_partitions IS
            'Partitions that retention has begun to remove. One that somebody detached to keep it is not here, and is left alone.';
        COMMENT ON COLUMN retired_partitions.partition_name IS 'The partition.';
        COMMENT ON COLUMN retired_partitions.retired_at IS 'Server time.';
        GRANT INSERT, UPDATE ON retention_floors TO qoe_writer;
        GRANT INSERT, DELETE ON retired_partitions TO qoe_writer;

        -- Triggers and not the writers, so that programs of the version before do it as well.
        CREATE FUNCTION qoe_queue_rollups() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO rollup_queue (level, window_start_ts)
            SELECT DISTINCT '1h', date_trunc('hour', window_start_ts, 'UTC') FROM changed;
            RETURN NULL;
        END $$;
        COMMENT ON FUNCTION qoe_queue_rollups() IS
            'Queues the hours of minutes that changed.';
        CREATE TRIGGER qoe_queue_inserted AFTER INSERT ON window_changes
            REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION qoe_queue_rollups();
        CREATE TRIGGER qoe_queue_updated AFTER UPDATE ON window_changes
            REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION qoe_queue_rollups();

        CREATE FUNCTION qoe_ensure_rollup_partitions(from_day date, to_day date) RETURNS integer
        LANGUAGE plpgsql SECURITY DEFINER SET timezone = 'UTC' AS $$
        DECLARE
            span record;
            made integer := 0;
        BEGIN
            FOR span IN
                SELECT parent, parent || '_' || to_char(first, form) AS name, first,
                    (first + step)::date AS behind
                FROM (VALUES ('agg_1h', 'month', 'YYYYMM', interval '1 month'),
                        ('agg_dim_1h', 'month', 'YYYYMM', interval '1 month'),
                        ('agg_1d', 'year', 'YYYY', interval '1 year'),
                        ('agg_dim_1d', 'year', 'YYYY', interval '1 year'))
                    AS tables (parent, unit, form, step)
                CROSS JOIN LATERAL generate_series(date_trunc(unit, from_day::timestamp),
                    to_day::timestamp, step) AS firsts (first)
            LOOP
                CONTINUE WHEN EXISTS (SELECT FROM pg_inherits JOIN pg_class ON oid = inhrelid
                    WHERE inhparent = span.parent::regclass AND relname = span.name);
                EXECUTE format('LOCK TABLE %I IN SHARE UPDATE EXCLUSIVE MODE', span.parent);
                CONTINUE WHEN EXISTS (SELECT FROM pg_inherits JOIN pg_class ON oid = inhrelid
                    WHERE inhparent = span.parent::regclass AND relname = span.name);
                -- Full pages: measured, room for updates doubled the size of rows that are
                -- written a few times in their hour and then kept for a year.
                EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', span.name, span.parent);
                EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                    span.parent, span.name, span.first::date::timestamptz,
                    span.behind::timestamptz);
                made := made + 1;
            END LOOP;
            RETURN made;
        END $$;
        COMMENT ON FUNCTION qoe_ensure_rollup_partitions(date, date) IS
            'Makes the missing month partitions (UTC) of agg_1h and agg_dim_1h and year partitions of agg_1d and agg_dim_1d for the days from the first to the last; returns how many it made. Safe to run at any time and several times at once.';
        REVOKE ALL ON FUNCTION qoe_ensure_rollup_partitions(date, date) FROM PUBLIC;
        GRANT EXECUTE ON FUNCTION qoe_ensure_rollup_partitions(date, date) TO qoe_writer;
        DO $$
        BEGIN
            EXECUTE format('ALTER FUNCTION qoe_ensure_rollup_partitions(date, date)
                SET search_path = %I, pg_temp', current_schema());
        END $$;

        -- As in version 6, but for what is compact already: merging one sketch is the usual case of a rollup.
        CREATE OR REPLACE FUNCTION qoe_sketch_compact(elements bigint[]) RETURNS bigint[]
        LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
        DECLARE
            count_max CONSTANT bigint := 1099511627775;
            bucket_count CONSTANT integer := cardinality(qoe_sketch_values());
            is_compact boolean := array_ndims(elements) = 1;
            previous bigint := -1;
            element bigint;
            compact bigint[];
            fits boolean;
            is_valid boolean;
        BEGIN
            FOREACH element IN ARRAY elements LOOP
                is_compact := (element >> 40 > previous AND element & count_max > 0
                    AND element >> 40 < bucket_count) IS TRUE;
                EXIT WHEN NOT is_compact;
                previous := element >> 40;
            END LOOP;
            IF is_compact THEN RETURN elements; END IF;
            -- Sums of bigint are numeric: they cannot overflow.
            SELECT array_agg(bucket << 40 | least(total, count_max)::bigint ORDER BY bucket),
                max(total) <= count_max,
                count(*) FILTER (WHERE total > 0 AND bucket >= 0 AND bucket < bucket_count)
                    = count(*)
            INTO compact, fits, is_valid
            FROM (SELECT bin >> 40 AS bucket, sum(bin & count_max) AS total
                -- Unnested in the list, which needs no copy of all elements as in FROM.
                FROM (SELECT unnest(elements) AS bin) AS unnested
                GROUP BY bin >> 40) AS buckets;
            IF NOT is_valid THEN
                RAISE EXCEPTION 'not a sketch: an element is NULL, counts nothing or has a bucket that does not exist'
                    USING ERRCODE = 'data_exception',
                        HINT = 'An element is bucket << 40 | count, as in the columns *_sketch.';
            END IF;
            IF fits IS NOT FALSE THEN RETURN compact; END IF;
            -- A bucket with more than one element can count: the remainder, then full elements.
            RETURN (SELECT array_agg(bin ORDER BY bin) FROM (
                SELECT bucket << 40 | CASE WHEN piece = 0
                    THEN (total - fulls * count_max)::bigint ELSE count_max END AS bin
                FROM (SELECT bucket, total, ceil(total / count_max)::bigint - 1 AS fulls
                    FROM (SELECT bin >> 40 AS bucket, sum(bin & count_max) AS total
                        FROM unnest(elements) AS bin GROUP BY bin >> 40) AS buckets
                    ) AS divided
                CROSS JOIN LATERAL generate_series(0, fulls) AS piece) AS pieces);
        END $$;

        CREATE FUNCTION qoe_sketch_percentiles(sketch bigint[], minimum double precision,
            maximum double precision) RETURNS double precision[]
        LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
        DECLARE
            representatives CONSTANT double precision[] := qoe_sketch_values();
            qs CONSTANT double precision[] := '{0.5,0.95,0.99}';
            total bigint := qoe_sketch_count(sketch);
            answers double precision[] := '{}';
            element bigint;
            seen bigint := 0;
            position integer := 1;
            rank bigint;
        BEGIN
            IF total IS NULL THEN RETURN NULL; END IF;
            rank := least(total, greatest(1, ceil(qs[1] * total)::bigint));
            FOREACH element IN ARRAY sketch LOOP
                seen := seen + (element & 1099511627775);
                WHILE seen >= rank LOOP
                    answers := answers || least(greatest(
                        representatives[(element >> 40) + 1] / 1e6::double precision,
                        minimum), maximum);
                    position := position + 1;
                    IF position > 3 THEN RETURN answers; END IF;
                    rank := least(total, greatest(1, ceil(qs[position] * total)::bigint));
                END LOOP;
            END LOOP;
            RETURN answers;
        END $$;
        COMMENT ON FUNCTION qoe_sketch_percentiles(bigint[], double precision, double precision) IS
            'The columns m_p50, m_p95 and m_p99 of a row with this sketch, minimum and maximum, in one pass.';

        CREATE FUNCTION qoe_sketch_min(sketch bigint[]) RETURNS double precision
        LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
            SELECT qoe_sketch_quantile(sketch, 0)
        $$;
        COMMENT ON FUNCTION qoe_sketch_min(bigint[]) IS
            'The smallest value in the metric''s unit, within 1 %; m_min has it exactly.';
        CREATE FUNCTION qoe_sketch_max(sketch bigint[]) RETURNS double precision
        LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
            SELECT qoe_sketch_quantile(sketch, 1)
        $$;
        COMMENT ON FUNCTION qoe_sketch_max(bigint[]) IS
            'The largest value in the metric''s unit, within 1 %; m_max has it exactly.';
        CREATE FUNCTION qoe_sketch_sum(sketch bigint[]) RETURNS double precision
        LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
            SELECT sum((element & 1099511627775) * (qoe_sketch_values())[(element >> 40) + 1])
                / 1e6::double precision
            FROM unnest(sketch) AS element WHERE qoe_sketch_count(sketch) > 0
        $$;
        COMMENT ON FUNCTION qoe_sketch_sum(bigint[]) IS
            'The sum of the values in the metric''s unit, within 1 %; m_sum has it exactly, in millionths.';

        CREATE FUNCTION qoe_roll_hour(hour timestamptz) RETURNS bigint LANGUAGE plpgsql
        -- Compiling the hundreds of expressions takes longer than all else.
        SET jit = off SET work_mem = '64MB' AS $$
        DECLARE
            written bigint;
        BEGIN
            WITH finest AS MATERIALIZED (
                -- A probe that changes its network is several rows here.
                SELECT client_id, target, network_type, isp, asn, region, source_ip, resolver,
                    max(context_ts_ms) AS context_ts_ms, count(*) AS minute_count,
                    \(merged)
                FROM agg_1m
                WHERE window_start_ts >= hour AND window_start_ts < hour + interval '1 hour'
                GROUP BY client_id, target, network_type, isp, asn, region, source_ip, resolver
            ), newest AS (
                SELECT DISTINCT ON (client_id, target) client_id, target, network_type, isp, asn,
                    region, source_ip, resolver, context_ts_ms
                FROM finest ORDER BY client_id, target, context_ts_ms DESC NULLS LAST
            ), labels AS (
                SELECT client_id, target,
                    mode() WITHIN GROUP (ORDER BY diagnosis_label) AS diagnosis_label
                FROM agg_1m
                WHERE window_start_ts >= hour AND window_start_ts < hour + interval '1 hour'
                    AND diagnosis_label IS NOT NULL
                GROUP BY client_id, target
            ), cells AS (
                SELECT client_id, target, sum(minute_count)::bigint AS minute_count,
                    \(merged)
                FROM finest GROUP BY client_id, target
            ), paths AS MATERIALIZED (
                SELECT target, network_type, isp, asn, region, resolver,
                    sum(minute_count)::bigint AS minute_count,
                    \(merged)
                FROM finest GROUP BY target, network_type, isp, asn, region, resolver
            ), dimensions AS MATERIALIZED (
                SELECT concat_ws(',',
                        CASE WHEN grouping(isp) = 0 THEN 'isp' END,
                        CASE WHEN grouping(asn) = 0 THEN 'asn' END,
                        CASE WHEN grouping(region) = 0 THEN 'region' END,
                        CASE WHEN grouping(network_type) = 0 THEN 'network_type' END,
                        CASE WHEN grouping(resolver) = 0 THEN 'resolver' END,
                        CASE WHEN grouping(target) = 0 THEN 'target' END) AS dimension,
                    jsonb_build_array(isp, asn, region, network_type, resolver, target)::text
                        AS key,
                    target, network_type, isp, asn, region, resolver,
                    sum(minute_count)::bigint AS minute_count,
                    \(merged)
                FROM paths
                GROUP BY GROUPING SETS ((target), (isp), (asn), (region), (network_type),
                    (resolver), (isp, target), (asn, target), (region, target),
                    (network_type, target), (resolver, target), (isp, region),
                    (isp, network_type), (isp, resolver))
            ), \(writing("agg_dim_1h", "dimensions", at: "hour", dimensionColumns))
            ), removed AS (
                DELETE FROM agg_dim_1h AS t WHERE t.window_start_ts = hour
                    AND t.dimension IN \(dimensionNames)
                    AND NOT EXISTS (SELECT FROM dimensions AS d
                        WHERE d.dimension = t.dimension AND d.key = t.key)
            ), described AS (
                SELECT * FROM cells JOIN newest USING (client_id, target)
                LEFT JOIN labels USING (client_id, target)
            ), \(writing("agg_1h", "described", at: "hour", cellColumns))
            )
            SELECT count(*) INTO written FROM agg_1h_written;
            RETURN written;
        END $$;
        COMMENT ON FUNCTION qoe_roll_hour(timestamptz) IS
            'Of qoe_roll: makes the rows of an hour; returns how many of agg_1h changed.';

        CREATE FUNCTION qoe_roll_day(day timestamptz) RETURNS bigint LANGUAGE plpgsql
        -- Compiling the hundreds of expressions takes longer than all else.
        SET jit = off SET work_mem = '64MB' AS $$
        DECLARE
            written bigint;
        BEGIN
            WITH cells AS (
                SELECT client_id, target, sum(minute_count)::bigint AS minute_count,
                    mode() WITHIN GROUP (ORDER BY diagnosis_label) AS diagnosis_label,
                    \(merged)
                FROM agg_1h
                WHERE window_start_ts >= day AND window_start_ts < day + interval '1 day'
                GROUP BY client_id, target
            ), newest AS (
                SELECT DISTINCT ON (client_id, target) client_id, target, network_type, isp, asn,
                    region, source_ip, resolver, context_ts_ms
                FROM agg_1h
                WHERE window_start_ts >= day AND window_start_ts < day + interval '1 day'
                ORDER BY client_id, target, context_ts_ms DESC NULLS LAST
            ), described AS (
                SELECT * FROM cells JOIN newest USING (client_id, target)
            ), \(writing("agg_1d", "described", at: "day", cellColumns))
            ), dimensions AS MATERIALIZED (
                SELECT dimension, key, target, network_type, isp, asn, region, resolver,
                    sum(minute_count)::bigint AS minute_count,
                    \(merged)
                FROM agg_dim_1h
                WHERE window_start_ts >= day AND window_start_ts < day + interval '1 day'
                    AND dimension IN \(dimensionNames)
                GROUP BY dimension, key, target, network_type, isp, asn, region, resolver
            ), \(writing("agg_dim_1d", "dimensions", at: "day", dimensionColumns))
            ), removed AS (
                DELETE FROM agg_dim_1d AS t WHERE t.window_start_ts = day
                    AND t.dimension IN \(dimensionNames)
                    AND NOT EXISTS (SELECT FROM dimensions AS d
                        WHERE d.dimension = t.dimension AND d.key = t.key)
            )
            SELECT count(*) INTO written FROM agg_1d_written;
            RETURN written;
        END $$;
        COMMENT ON FUNCTION qoe_roll_day(timestamptz) IS
            'Of qoe_roll: makes the rows of a day; returns how many of agg_1d changed.';

        CREATE FUNCTION qoe_roll(rolled text, window_start timestamptz) RETURNS bigint
        LANGUAGE plpgsql SET timezone = 'UTC' AS $$
        DECLARE
            step CONSTANT text := CASE rolled WHEN '1h' THEN 'hour' WHEN '1d' THEN 'day' END;
            sources CONSTANT text[] := CASE rolled
                WHEN '1h' THEN ARRAY['agg_1m'] ELSE ARRAY['agg_1h', 'agg_dim_1h'] END;
        BEGIN
            IF step IS NULL OR window_start IS DISTINCT FROM date_trunc(step, window_start, 'UTC') THEN
                RAISE EXCEPTION 'qoe_roll makes 1h or 1d, and the window is the first instant of an hour or day (UTC)'
                    USING ERRCODE = 'invalid_parameter_value';
            END IF;
            -- One at a time: what is read here must not be older than what another one has written.
            PERFORM pg_advisory_xact_lock(8173863309316942956);
            -- Before reading: what changes from here on comes again.
            DELETE FROM rollup_queue AS q
            WHERE q.level = rolled AND q.window_start_ts = window_start;
            IF EXISTS (SELECT FROM retention_floors
                WHERE table_name = ANY(sources) AND window_start < floor) THEN RETURN NULL; END IF;
            PERFORM qoe_ensure_rollup_partitions(window_start::date, window_start::date);
            IF rolled = '1d' THEN RETURN qoe_roll_day(window_start); END IF;
            INSERT INTO rollup_queue (level, window_start_ts)
                VALUES ('1d', date_trunc('day', window_start, 'UTC'));
            RETURN qoe_roll_hour(window_start);
        END $$;
        COMMENT ON FUNCTION qoe_roll(text, timestamptz) IS
            'Makes an hour (1h) of the minutes or a day (1d) of the hours again: the same however often, and one at a time. Returns how many rows changed; NULL when the rows that it would be made of have been removed, and then changes nothing.';

        SELECT qoe_ensure_rollup_partitions(
            (now() AT TIME ZONE 'UTC')::date - 30, (now() AT TIME ZONE 'UTC')::date + 7);
        INSERT INTO rollup_queue (level, window_start_ts)
            SELECT DISTINCT '1h', date_trunc('hour', window_start_ts, 'UTC') FROM window_changes;
        """)

// The text is built of parts that repeat; like all of a migration, they never change.

private let metrics = [
    "dns", "tcp", "tls", "ttfb", "throughput", "total", "rtt", "jitter", "loss", "loaded_rtt",
]

private let counts = [
    "count_total", "count_success", "count_error", "dns_error_count", "tcp_error_count",
    "tls_error_count", "http_error_count", "throughput_error_count", "late_count",
]

private let mergedDefinitions =
    (counts.map { "\($0) bigint NOT NULL" }
    + metrics.map {
        """
        \($0)_count bigint NOT NULL, \($0)_sum bigint, \($0)_min double precision,
                    \($0)_max double precision, \($0)_p50 double precision,
                    \($0)_p95 double precision, \($0)_p99 double precision, \($0)_sketch bigint[]
        """
    }).joined(separator: ",\n            ")

/// The counts and metrics of a group of rows. Sums of bigint are numeric and cannot overflow; a stored
/// one stays at the largest bigint (not by least(), which would take it for NULL as well).
private let merged =
    (counts.map { "sum(\($0))::bigint AS \($0)" }
    + metrics.map {
        """
        sum(\($0)_count)::bigint AS \($0)_count,
                    CASE WHEN sum(\($0)_sum) > 9223372036854775807 THEN 9223372036854775807
                        ELSE sum(\($0)_sum)::bigint END AS \($0)_sum,
                    min(\($0)_min) AS \($0)_min, max(\($0)_max) AS \($0)_max,
                    qoe_sketch_merge(\($0)_sketch) AS \($0)_sketch
        """
    }).joined(separator: ",\n                    ")

private struct RollupColumns {
    let key: [String]
    let others: [String]
}

private let cellColumns = RollupColumns(
    key: ["client_id", "target"],
    others: [
        "network_type", "isp", "asn", "region", "source_ip", "resolver", "context_ts_ms",
        "diagnosis_label", "minute_count",
    ])

private let dimensionColumns = RollupColumns(
    key: ["dimension", "key"],
    others: [
        "target", "network_type", "isp", "asn", "region", "resolver", "minute_count",
    ])

private let dimensionNames = """
    ('target', 'isp', 'asn', 'region', 'network_type', 'resolver',
                        'isp,target', 'asn,target', 'region,target', 'network_type,target',
                        'resolver,target', 'isp,region', 'isp,network_type', 'isp,resolver')
    """

/// Two steps of a WITH: the percentiles of merged rows, and the rows that differ written to `table`.
private func writing(
    _ table: String, _ source: String, at window: String, _ columns: RollupColumns
) -> String {
    let stored =
        counts
        + metrics.flatMap { metric in
            ["count", "sum", "min", "max", "p50", "p95", "p99", "sketch"].map { "\(metric)_\($0)" }
        } + columns.others
    let values =
        counts
        + metrics.flatMap { metric in
            ["count", "sum", "min", "max"].map { "\(metric)_\($0)" }
                + (1...3).map { "\(metric)_q[\($0)]" } + ["\(metric)_sketch"]
        } + columns.others
    let percentiles = metrics.map {
        "qoe_sketch_percentiles(\($0)_sketch, \($0)_min, \($0)_max) AS \($0)_q"
    }
    let key = columns.key.joined(separator: ", ")
    return """
        \(table)_measured AS MATERIALIZED (
                        SELECT *, \(percentiles.joined(separator: ",\n                    "))
                        FROM \(source)
                    ), \(table)_written AS (
                        INSERT INTO \(table) AS t (\(key), window_start_ts, updated_at,
                            \(stored.joined(separator: ", ")))
                        SELECT \(key), \(window), now(),
                            \(values.joined(separator: ", "))
                        FROM \(table)_measured ORDER BY \(key)
                        ON CONFLICT (\(key), window_start_ts) DO UPDATE SET updated_at = now(),
                            \(stored.map { "\($0) = EXCLUDED.\($0)" }.joined(separator: ", "))
                        WHERE ROW(\(stored.map { "t.\($0)" }.joined(separator: ", ")))
                            IS DISTINCT FROM
                            ROW(\(stored.map { "EXCLUDED.\($0)" }.joined(separator: ", ")))
                        RETURNING 1
        """
}
