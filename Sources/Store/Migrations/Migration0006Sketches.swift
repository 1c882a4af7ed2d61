internal import Sketches

/// Quantiles over any set of rows: functions and an aggregate over stored sketches, in plain SQL and
/// PL/pgSQL, so that a managed server runs them too.
let migration0006Sketches = Migration(
    version: 6, name: "sketches",
    sql: """
        -- The values themselves, not the formula: power() may differ in the last bit from the
        -- programs' integer arithmetic, and from machine to machine.
        CREATE FUNCTION qoe_sketch_values() RETURNS double precision[]
        LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
            SELECT '{\(bucketValues)}'::double precision[]
        $$;
        COMMENT ON FUNCTION qoe_sketch_values() IS
            'What each bucket of a sketch stands for, in millionths of the unit: element 1 is bucket 0.';

        CREATE FUNCTION qoe_sketch_compact(elements bigint[]) RETURNS bigint[]
        LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
        DECLARE
            count_max CONSTANT bigint := 1099511627775;
            compact bigint[];
            fits boolean;
            is_valid boolean;
        BEGIN
            -- Sums of bigint are numeric: they cannot overflow.
            SELECT array_agg(bucket << 40 | least(total, 1099511627775)::bigint ORDER BY bucket),
                max(total) <= 1099511627775,
                count(*) FILTER (WHERE total > 0 AND bucket >= 0
                    AND bucket < cardinality(qoe_sketch_values())) = count(*)
            INTO compact, fits, is_valid
            FROM (SELECT element >> 40 AS bucket, sum(element & 1099511627775) AS total
                -- Unnested in the list, which needs no copy of all elements as in FROM.
                FROM (SELECT unnest(elements) AS element) AS unnested
                GROUP BY element >> 40) AS buckets;
            IF NOT is_valid THEN
                RAISE EXCEPTION 'not a sketch: an element is NULL, counts nothing or has a bucket that does not exist'
                    USING ERRCODE = 'data_exception',
                        HINT = 'An element is bucket << 40 | count, as in the columns *_sketch.';
            END IF;
            IF fits IS NOT FALSE THEN RETURN compact; END IF;
            -- A bucket with more than one element can count: the remainder, then full elements.
            RETURN (SELECT array_agg(element ORDER BY element) FROM (
                SELECT bucket << 40 | CASE WHEN piece = 0
                    THEN (total - fulls * count_max)::bigint ELSE count_max END AS element
                FROM (SELECT bucket, total, ceil(total / count_max)::bigint - 1 AS fulls
                    FROM (SELECT element >> 40 AS bucket, sum(element & count_max) AS total
                        FROM unnest(elements) AS element GROUP BY element >> 40) AS buckets
                    ) AS divided
                CROSS JOIN LATERAL generate_series(0, fulls) AS piece) AS pieces);
        END $$;
        COMMENT ON FUNCTION qoe_sketch_compact(bigint[]) IS
            'The sketch of elements in any order and number: counts of equal buckets added, ascending. A count above 2^40 - 1 takes several elements of its bucket.';

        -- Appends and compacts now and then: bounded memory, and one GROUP BY for hundreds of rows.
        -- 2048 is well above the buckets that values of all metrics can be in (up to 3.6e12 millionths:
        -- some 1460), so that there is always room to append to.
        CREATE FUNCTION qoe_sketch_append(state bigint[], sketch bigint[]) RETURNS bigint[]
        LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
        BEGIN
            IF cardinality(state) < 2048 THEN RETURN state || sketch; END IF;
            RETURN qoe_sketch_compact(state || sketch);
        END $$;
        COMMENT ON FUNCTION qoe_sketch_append(bigint[], bigint[]) IS
            'Of qoe_sketch_merge: the elements of both, compacted when there are many.';

        CREATE AGGREGATE qoe_sketch_merge(bigint[]) (
            SFUNC = qoe_sketch_append, STYPE = bigint[], FINALFUNC = qoe_sketch_compact,
            COMBINEFUNC = qoe_sketch_append, PARALLEL = SAFE);
        COMMENT ON AGGREGATE qoe_sketch_merge(bigint[]) IS
            'The sketch of all values that the sketches saw: exact integer addition, the same whatever the order. Skips NULL; NULL when there is nothing else.';

        CREATE FUNCTION qoe_sketch_count(sketch bigint[]) RETURNS bigint
        LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
        DECLARE
            element bigint;
            previous bigint := 0;
            total bigint := 0;
        BEGIN
            FOREACH element IN ARRAY sketch LOOP
                IF (element >= previous) IS NOT TRUE THEN
                    RAISE EXCEPTION 'not a sketch: an element is NULL, negative or not in order'
                        USING ERRCODE = 'data_exception',
                            HINT = 'Put sketches together with qoe_sketch_merge or qoe_sketch_compact.';
                END IF;
                previous := element;
                total := total + (element & 1099511627775);
            END LOOP;
            IF previous >> 40 >= cardinality(qoe_sketch_values()) THEN
                RAISE EXCEPTION 'not a sketch: there is no bucket %', previous >> 40
                    USING ERRCODE = 'data_exception';
            END IF;
            RETURN nullif(total, 0);
        END $$;
        COMMENT ON FUNCTION qoe_sketch_count(bigint[]) IS
            'How many values the sketch saw; NULL for none.';

        CREATE FUNCTION qoe_sketch_quantile(sketch bigint[], q double precision)
        RETURNS double precision
        LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
        DECLARE
            element bigint;
            total bigint;
            exact_rank double precision;
            rank bigint;
            seen bigint := 0;
        BEGIN
            IF NOT (q >= 0 AND q <= 1) THEN
                RAISE EXCEPTION 'q of a quantile is from 0 to 1, not %', q
                    USING ERRCODE = 'numeric_value_out_of_range',
                        HINT = 'The 99th percentile is q = 0.99.';
            END IF;
            total := qoe_sketch_count(sketch);
            exact_rank := ceil(q * total);
            rank := CASE WHEN exact_rank < total THEN greatest(1, exact_rank::bigint) ELSE total END;
            FOREACH element IN ARRAY sketch LOOP
                seen := seen + (element & 1099511627775);
                IF seen >= rank THEN
                    RETURN (qoe_sketch_values())[(element >> 40) + 1] / 1e6::double precision;
                END IF;
            END LOOP;
            RETURN NULL;
        END $$;
        COMMENT ON FUNCTION qoe_sketch_quantile(bigint[], double precision) IS
            'The q-quantile in the metric''s unit: of n values the one of rank ceil(q * n), as percentile_disc has it, within 1 %. NULL when there are no values.';

        CREATE FUNCTION qoe_sketch_quantile(sketch bigint[], q double precision,
            minimum double precision, maximum double precision) RETURNS double precision
        LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
        DECLARE
            estimate double precision := qoe_sketch_quantile(sketch, q);
        BEGIN
            RETURN CASE WHEN estimate IS NOT NULL
                THEN least(greatest(estimate, minimum), maximum) END;
        END $$;
        COMMENT ON FUNCTION qoe_sketch_quantile(bigint[], double precision, double precision, double precision) IS
            'The q-quantile, moved to the exact minimum or maximum when it is beyond: min(m_min) and max(m_max) of the same rows. So are m_p50, m_p95 and m_p99 of agg_1m made.';

        CREATE FUNCTION qoe_sketch_quantiles(sketch bigint[], qs double precision[])
        RETURNS double precision[]
        LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
            SELECT CASE WHEN qoe_sketch_count(sketch) > 0 THEN ARRAY(
                SELECT qoe_sketch_quantile(sketch, q)
                FROM unnest(qs) WITH ORDINALITY AS asked (q, position) ORDER BY position) END
        $$;
        COMMENT ON FUNCTION qoe_sketch_quantiles(bigint[], double precision[]) IS
            'The quantiles of several q, in their order; NULL when there are no values.';

        CREATE FUNCTION qoe_sketch_fraction_below(sketch bigint[], threshold double precision)
        RETURNS double precision
        LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
        DECLARE
            element bigint;
            below bigint := 0;
        BEGIN
            IF threshold = 'NaN' THEN
                RAISE EXCEPTION 'the threshold of qoe_sketch_fraction_below is not a number'
                    USING ERRCODE = 'numeric_value_out_of_range';
            END IF;
            FOREACH element IN ARRAY sketch LOOP
                EXIT WHEN (qoe_sketch_values())[(element >> 40) + 1] / 1e6::double precision
                    > threshold;
                below := below + (element & 1099511627775);
            END LOOP;
            RETURN below::double precision / qoe_sketch_count(sketch);
        END $$;
        COMMENT ON FUNCTION qoe_sketch_fraction_below(bigint[], double precision) IS
            'The share of values, 0 to 1, up to and including the threshold, which is in the metric''s unit; exact for some threshold within 1 % of it. NULL when there are no values.';

        CREATE FUNCTION qoe_apdex(sketch bigint[], t double precision) RETURNS double precision
        LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
        BEGIN
            IF NOT (t > 0 AND t < 'Infinity') THEN
                RAISE EXCEPTION 'the target time of an Apdex is above 0 and finite, not %', t
                    USING ERRCODE = 'numeric_value_out_of_range';
            END IF;
            RETURN (qoe_sketch_fraction_below(sketch, t)
                + qoe_sketch_fraction_below(sketch, 4 * t)) / 2;
        END $$;
        COMMENT ON FUNCTION qoe_apdex(bigint[], double precision) IS
            'Apdex (Apdex Technical Specification 1.1) of the measured values for the target time T in the metric''s unit: (satisfied + tolerating / 2) / all, satisfied up to T, tolerating up to 4 T. NULL when there are no values.';
        """)

/// What buckets stand for. A double's description is the shortest text that reads as the same double.
private let bucketValues = (0..<BucketMapping.shared.bucketCount)
    .map { "\(BucketMapping.shared.representative(of: $0))" }
    .joined(separator: ",")
