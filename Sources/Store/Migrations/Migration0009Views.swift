/// Answers to the first questions.
let migration0009Views = Migration(
    version: 9, name: "views", runsAsOwner: true,
    sql: """
        CREATE VIEW worst_targets_now AS
            SELECT target, count(DISTINCT client_id) AS clients,
                \(nowColumns)
            FROM agg_1m WHERE window_start_ts > now() - interval '10 minutes'
            GROUP BY target
            ORDER BY error_pct DESC, ttfb_p95 DESC NULLS LAST, target;
        COMMENT ON VIEW worst_targets_now IS
            'Targets by how bad the last ten minutes were, the worst first: share of errors, then 95th percentile of the time to first byte.';
        COMMENT ON COLUMN worst_targets_now.target IS 'What was measured.';
        COMMENT ON COLUMN worst_targets_now.clients IS 'How many probes measured it.';
        \(nowComments("worst_targets_now"))

        CREATE VIEW worst_clients_now AS
            SELECT client_id, count(DISTINCT target) AS targets,
                (array_agg(isp ORDER BY context_ts_ms DESC NULLS LAST))[1] AS isp,
                (array_agg(region ORDER BY context_ts_ms DESC NULLS LAST))[1] AS region,
                (array_agg(network_type ORDER BY context_ts_ms DESC NULLS LAST))[1] AS network_type,
                \(nowColumns)
            FROM agg_1m WHERE window_start_ts > now() - interval '10 minutes'
            GROUP BY client_id
            ORDER BY error_pct DESC, ttfb_p95 DESC NULLS LAST, client_id;
        COMMENT ON VIEW worst_clients_now IS
            'Probes by how bad the last ten minutes were, the worst first: share of errors, then 95th percentile of the time to first byte.';
        COMMENT ON COLUMN worst_clients_now.client_id IS 'The probe.';
        COMMENT ON COLUMN worst_clients_now.targets IS 'How many targets it measured.';
        COMMENT ON COLUMN worst_clients_now.isp IS 'As its newest event said; so are region and network_type.';
        COMMENT ON COLUMN worst_clients_now.region IS 'As its newest event said.';
        COMMENT ON COLUMN worst_clients_now.network_type IS 'As its newest event said.';
        \(nowComments("worst_clients_now"))

        CREATE VIEW errors_by_stage AS
            SELECT target, stage, sum(errors)::bigint AS errors,
                round(100 * sum(errors) / sum(count_total), 2) AS error_pct,
                count(DISTINCT client_id) FILTER (WHERE errors > 0) AS clients
            FROM agg_1m CROSS JOIN LATERAL (VALUES
                ('dns', dns_error_count), ('tcp', tcp_error_count), ('tls', tls_error_count),
                ('http', http_error_count), ('throughput', throughput_error_count)
            ) AS stages (stage, errors)
            WHERE window_start_ts > now() - interval '1 hour'
            GROUP BY target, stage HAVING sum(errors) > 0
            ORDER BY errors DESC, target, stage;
        COMMENT ON VIEW errors_by_stage IS
            'Where measurements of the last hour failed: one row per target and stage with errors.';
        COMMENT ON COLUMN errors_by_stage.target IS 'What was measured.';
        COMMENT ON COLUMN errors_by_stage.stage IS 'dns, tcp, tls, http or throughput.';
        COMMENT ON COLUMN errors_by_stage.errors IS 'Events that failed there.';
        COMMENT ON COLUMN errors_by_stage.error_pct IS 'Their share of all events of the target, %.';
        COMMENT ON COLUMN errors_by_stage.clients IS 'How many probes saw it.';

        CREATE VIEW freshness AS
            SELECT stream, count(*) AS partitions,
                CASE WHEN count(*) = count(complete_through) THEN min(complete_through) END
                    AS complete_through,
                CASE WHEN count(*) = count(complete_through)
                    THEN extract(epoch FROM now() - min(complete_through))::double precision END
                    AS behind_s,
                (array_agg(partition ORDER BY complete_through NULLS FIRST, partition))[1]
                    AS slowest_partition,
                count(*) FILTER (WHERE owner_id IS NULL OR lease_expires_at < now()) AS unowned,
                max(flushed_at) AS flushed_at
            FROM partition_progress GROUP BY stream;
        COMMENT ON VIEW freshness IS
            'How current the tables are: windows that ended before complete_through have everything that the log has of them.';
        COMMENT ON COLUMN freshness.stream IS 'Name of the stream.';
        COMMENT ON COLUMN freshness.partitions IS 'How many partitions have been read.';
        COMMENT ON COLUMN freshness.complete_through IS 'The earliest complete_through of its partitions; NULL while one has none.';
        COMMENT ON COLUMN freshness.behind_s IS 'Seconds since then.';
        COMMENT ON COLUMN freshness.slowest_partition IS 'The partition that is furthest behind.';
        COMMENT ON COLUMN freshness.unowned IS 'Partitions that no aggregator reads.';
        COMMENT ON COLUMN freshness.flushed_at IS 'Server time of the last write.';

        CREATE VIEW event_rates AS
            SELECT stream, sum(messages_read)::bigint AS messages_read,
                sum(events_read)::bigint AS events_read,
                sum(events_counted)::bigint AS events_counted,
                sum(events_duplicate)::bigint AS events_duplicate,
                sum(events_late)::bigint AS events_late,
                sum(events_rejected)::bigint AS events_rejected,
                sum(messages_dead_lettered)::bigint AS messages_dead_lettered,
                round(100 * sum(events_duplicate) / nullif(sum(events_read), 0), 3)
                    AS duplicate_pct,
                round(100 * sum(events_late) / nullif(sum(events_counted), 0), 3) AS late_pct,
                round(100 * sum(events_rejected) / nullif(sum(events_read), 0), 3) AS rejected_pct
            FROM partition_progress GROUP BY stream;
        COMMENT ON VIEW event_rates IS
            'What became of everything that was read, since the stream began: events_read = events_counted + events_duplicate + events_rejected.';
        COMMENT ON COLUMN event_rates.stream IS 'Name of the stream.';
        COMMENT ON COLUMN event_rates.messages_read IS 'Messages.';
        COMMENT ON COLUMN event_rates.events_read IS 'Events in them.';
        COMMENT ON COLUMN event_rates.events_counted IS 'Events counted in agg_1m, each once.';
        COMMENT ON COLUMN event_rates.events_duplicate IS 'Events that came again.';
        COMMENT ON COLUMN event_rates.events_late IS 'Events counted, but more than two minutes late.';
        COMMENT ON COLUMN event_rates.events_rejected IS 'Events with a time that no window is kept for; they are in dead_letters.';
        COMMENT ON COLUMN event_rates.messages_dead_lettered IS 'Messages that could not be decoded; they are in dead_letters.';
        COMMENT ON COLUMN event_rates.duplicate_pct IS 'Duplicates, % of the events read; NULL before the first.';
        COMMENT ON COLUMN event_rates.late_pct IS 'Late events, % of those counted; NULL before the first.';
        COMMENT ON COLUMN event_rates.rejected_pct IS 'Rejected events, % of those read; NULL before the first.';

        CREATE VIEW client_rates AS
            SELECT s.client_id, count(*) AS sessions, sum(s.events)::bigint AS events,
                sum(s.duplicates)::bigint AS duplicates,
                round(100 * sum(s.duplicates) / nullif(sum(s.events + s.duplicates), 0), 3)
                    AS duplicate_pct,
                coalesce(sum(g.missing), 0)::bigint AS missing,
                round(100 * coalesce(sum(g.missing), 0)
                    / nullif(sum(s.events) + coalesce(sum(g.missing), 0), 0), 3) AS missing_pct,
                max(s.last_ts) AS last_ts
            FROM probe_sessions AS s
            LEFT JOIN (
                SELECT client_id, session_id, sum(missing_count) AS missing FROM probe_gaps
                GROUP BY client_id, session_id) AS g USING (client_id, session_id)
            GROUP BY s.client_id;
        COMMENT ON VIEW client_rates IS
            'Per probe that numbers its events: what came, what came again and what is missing.';
        COMMENT ON COLUMN client_rates.client_id IS 'The probe.';
        COMMENT ON COLUMN client_rates.sessions IS 'Runs of the probe.';
        COMMENT ON COLUMN client_rates.events IS 'Events counted.';
        COMMENT ON COLUMN client_rates.duplicates IS 'Events that came again.';
        COMMENT ON COLUMN client_rates.duplicate_pct IS 'Their share of all that came, %; NULL when nothing came.';
        COMMENT ON COLUMN client_rates.missing IS 'Events that the probe numbered and we do not have, or not yet; see probe_gaps.';
        COMMENT ON COLUMN client_rates.missing_pct IS 'Their share of what the probe is known to have made, %; NULL when it is not known to have made any.';
        COMMENT ON COLUMN client_rates.last_ts IS 'Largest ts_ms counted.';
        """)

/// What the last minutes say of a group of rows.
private let nowColumns = """
    sum(count_total)::bigint AS events,
                    round(100 * sum(count_error) / sum(count_total), 2) AS error_pct,
                    qoe_sketch_quantile(qoe_sketch_merge(ttfb_sketch), 0.5, min(ttfb_min), max(ttfb_max))
                        AS ttfb_p50,
                    qoe_sketch_quantile(qoe_sketch_merge(ttfb_sketch), 0.95, min(ttfb_min), max(ttfb_max))
                        AS ttfb_p95,
                    round(100.0 * count(*) FILTER (WHERE diagnosis_label <> 'healthy')
                        / nullif(count(diagnosis_label), 0), 1) AS unhealthy_pct,
                    mode() WITHIN GROUP (ORDER BY diagnosis_label)
                        FILTER (WHERE diagnosis_label <> 'healthy') AS main_diagnosis
    """

private func nowComments(_ view: String) -> String {
    """
    COMMENT ON COLUMN \(view).events IS 'Events counted.';
            COMMENT ON COLUMN \(view).error_pct IS 'Share of events that failed, %.';
            COMMENT ON COLUMN \(view).ttfb_p50 IS 'Median time to first byte of all values, ms; NULL when none was measured.';
            COMMENT ON COLUMN \(view).ttfb_p95 IS '95th percentile of the time to first byte of all values, ms; NULL when none was measured.';
            COMMENT ON COLUMN \(view).unhealthy_pct IS 'Share of labelled minutes whose label is not healthy, %; NULL when none is labelled.';
            COMMENT ON COLUMN \(view).main_diagnosis IS 'The label of most unhealthy minutes; NULL when there are none.';
    """
}
