/// Where each partition of the stream stands, and the ledgers kept beside it.
let migration0002Progress = Migration(
    version: 2, name: "progress",
    sql: """
        CREATE TABLE partition_progress (
            stream text NOT NULL,
            partition integer NOT NULL,
            generation integer NOT NULL DEFAULT 1,
            committed_seq bigint NOT NULL DEFAULT 0,
            committed_ts timestamptz,
            replay_from_seq bigint NOT NULL DEFAULT 1,
            complete_through timestamptz,
            owner_id text,
            owner_nonce uuid,
            epoch bigint NOT NULL DEFAULT 0,
            lease_expires_at timestamptz,
            owner_backend_pid integer,
            state text NOT NULL DEFAULT 'free'
                CHECK (state IN ('free', 'running', 'draining', 'data_loss')),
            stream_created_ns bigint,
            anchors jsonb NOT NULL DEFAULT '[]',
            messages_read bigint NOT NULL DEFAULT 0,
            messages_dead_lettered bigint NOT NULL DEFAULT 0,
            events_read bigint NOT NULL DEFAULT 0,
            events_counted bigint NOT NULL DEFAULT 0,
            events_duplicate bigint NOT NULL DEFAULT 0,
            events_rejected bigint NOT NULL DEFAULT 0,
            events_late bigint NOT NULL DEFAULT 0,
            id_conflicts bigint NOT NULL DEFAULT 0,
            flushed_at timestamptz,
            PRIMARY KEY (stream, partition)
        ) WITH (fillfactor = 20);
        COMMENT ON TABLE partition_progress IS
            'Per partition of a stream: the last message whose effects are in the tables, and who may write. Changed in the same transaction as the effects.';
        COMMENT ON COLUMN partition_progress.stream IS 'Name of the JetStream stream.';
        COMMENT ON COLUMN partition_progress.partition IS 'Number of the partition, from 0.';
        COMMENT ON COLUMN partition_progress.generation IS 'Counts how often the stream was found restored, truncated or re-created; sequences compare within one generation only.';
        COMMENT ON COLUMN partition_progress.committed_seq IS 'Stream sequence of the last message whose effects are in the tables; 0 before the first.';
        COMMENT ON COLUMN partition_progress.committed_ts IS 'Largest broker time up to that message.';
        COMMENT ON COLUMN partition_progress.replay_from_seq IS 'Where reading begins after a restart, so that the identifiers of recent events are known again; messages from here on must not be removed from the stream.';
        COMMENT ON COLUMN partition_progress.complete_through IS 'Windows that ended before this are complete as far as the log tells; NULL while unknown.';
        COMMENT ON COLUMN partition_progress.owner_id IS 'Who reads the partition; NULL when nobody does.';
        COMMENT ON COLUMN partition_progress.owner_nonce IS 'Random per acquisition: the fence that every write must name.';
        COMMENT ON COLUMN partition_progress.epoch IS 'Counts acquisitions.';
        COMMENT ON COLUMN partition_progress.lease_expires_at IS 'Others may take the partition after this, by the server''s clock; says nothing about safety.';
        COMMENT ON COLUMN partition_progress.owner_backend_pid IS 'The owner''s server process at its acquisition, for operators.';
        COMMENT ON COLUMN partition_progress.state IS 'free: nobody reads; running; draining: being handed over; data_loss: messages that were needed are gone, see lost_ranges.';
        COMMENT ON COLUMN partition_progress.stream_created_ns IS 'When the stream was created, Unix ns; a change means another stream of the same name.';
        COMMENT ON COLUMN partition_progress.anchors IS 'Messages to recognise the stream by: [sequence, broker Unix ms, payload hash] each, newest first.';
        COMMENT ON COLUMN partition_progress.messages_read IS 'Messages, since the stream began; so are all counts here.';
        COMMENT ON COLUMN partition_progress.messages_dead_lettered IS 'Messages that could not be decoded.';
        COMMENT ON COLUMN partition_progress.events_read IS 'Events: events_counted + events_duplicate + events_rejected.';
        COMMENT ON COLUMN partition_progress.events_counted IS 'Events counted in agg_1m.';
        COMMENT ON COLUMN partition_progress.events_duplicate IS 'Events that came again.';
        COMMENT ON COLUMN partition_progress.events_rejected IS 'Events with a time that no window is kept for.';
        COMMENT ON COLUMN partition_progress.events_late IS 'Events counted, but more than two minutes late.';
        COMMENT ON COLUMN partition_progress.id_conflicts IS 'Duplicates by event_id whose content differs from the first.';
        COMMENT ON COLUMN partition_progress.flushed_at IS 'Server time of the last write.';

        CREATE FUNCTION qoe_require_fence(hits bigint) RETURNS void
        LANGUAGE plpgsql VOLATILE AS $$
        BEGIN
            IF hits <> 1 THEN
                RAISE EXCEPTION 'the partition has another owner or other progress'
                    USING ERRCODE = 'QF001';
            END IF;
        END $$;
        COMMENT ON FUNCTION qoe_require_fence(bigint) IS
            'Raises QF001 unless the fencing update hit one row. An error stops the rest of a pipeline, so a fenced writer writes nothing.';

        CREATE TABLE probe_sessions (
            client_id text COLLATE "C" NOT NULL,
            session_id uuid NOT NULL,
            partition integer NOT NULL,
            counted_seqs int8multirange NOT NULL,
            first_ts timestamptz,
            last_ts timestamptz,
            events bigint NOT NULL,
            duplicates bigint NOT NULL,
            generation integer NOT NULL,
            last_seq bigint NOT NULL,
            updated_at timestamptz NOT NULL,
            PRIMARY KEY (client_id, session_id)
        ) WITH (fillfactor = 70);
        COMMENT ON TABLE probe_sessions IS
            'Per run of a probe: which of its numbered events have been counted. Decides whether an event is a duplicate, however late it comes.';
        COMMENT ON COLUMN probe_sessions.client_id IS 'The probe.';
        COMMENT ON COLUMN probe_sessions.session_id IS 'The run; new at every start of the probe.';
        COMMENT ON COLUMN probe_sessions.partition IS 'The stream''s partition that the probe belongs to.';
        COMMENT ON COLUMN probe_sessions.counted_seqs IS 'Numbers (seq) of the events counted.';
        COMMENT ON COLUMN probe_sessions.first_ts IS 'Smallest ts_ms of the events counted; NULL when none was.';
        COMMENT ON COLUMN probe_sessions.last_ts IS 'Largest ts_ms of the events counted; NULL when none was.';
        COMMENT ON COLUMN probe_sessions.events IS 'Events counted.';
        COMMENT ON COLUMN probe_sessions.duplicates IS 'Events that came again.';
        COMMENT ON COLUMN probe_sessions.generation IS 'Generation of the stream that last_seq counts in.';
        COMMENT ON COLUMN probe_sessions.last_seq IS 'Stream sequence of the last message that touched the row; a write with an older one is refused.';
        COMMENT ON COLUMN probe_sessions.updated_at IS 'Start of the transaction that wrote the row.';

        CREATE VIEW probe_gaps AS
            SELECT s.client_id, s.session_id, lower(missing) AS first_missing_seq,
                upper(missing) - 1 AS last_missing_seq,
                upper(missing) - lower(missing) AS missing_count, s.last_ts
            FROM probe_sessions AS s,
                unnest(int8multirange(int8range(1, upper(s.counted_seqs))) - s.counted_seqs)
                    AS missing
            WHERE NOT isempty(s.counted_seqs);
        COMMENT ON VIEW probe_gaps IS
            'Numbers below the highest counted one of a session that have not been counted: events that the probe made and we did not get, or not yet. It cannot know what a probe made after the highest number we have seen, events without numbers, or sessions of which nothing arrived; and what waits in a probe''s spool shows here until it is posted.';
        COMMENT ON COLUMN probe_gaps.client_id IS 'The probe.';
        COMMENT ON COLUMN probe_gaps.session_id IS 'The run of the probe.';
        COMMENT ON COLUMN probe_gaps.first_missing_seq IS 'First number of the gap.';
        COMMENT ON COLUMN probe_gaps.last_missing_seq IS 'Last number of the gap.';
        COMMENT ON COLUMN probe_gaps.missing_count IS 'How many numbers the gap has.';
        COMMENT ON COLUMN probe_gaps.last_ts IS 'Largest ts_ms counted in the session.';

        CREATE TABLE window_changes (
            partition integer NOT NULL,
            window_start_ts timestamptz NOT NULL,
            changed_seq bigint NOT NULL,
            changed_at timestamptz NOT NULL,
            PRIMARY KEY (partition, window_start_ts)
        ) WITH (fillfactor = 50);
        CREATE INDEX window_changes_changed_at ON window_changes (changed_at);
        COMMENT ON TABLE window_changes IS
            'Which minutes of which partition a transaction touched last: how the diagnoser finds rows of agg_1m that changed without an index on a column that changes.';
        COMMENT ON COLUMN window_changes.partition IS 'The stream''s partition.';
        COMMENT ON COLUMN window_changes.window_start_ts IS 'The minute that changed.';
        COMMENT ON COLUMN window_changes.changed_seq IS 'Stream sequence of the last message that touched it.';
        COMMENT ON COLUMN window_changes.changed_at IS 'Start of the transaction; it becomes visible somewhat later.';

        CREATE TABLE dead_letters (
            stream text NOT NULL,
            partition integer NOT NULL,
            seq bigint NOT NULL,
            idx integer NOT NULL,
            reason text NOT NULL,
            detail text NOT NULL,
            payload bytea NOT NULL CHECK (octet_length(payload) <= 4096),
            recorded_at timestamptz NOT NULL,
            PRIMARY KEY (stream, partition, seq, idx)
        );
        COMMENT ON TABLE dead_letters IS
            'Messages and events that were read from the stream and could not be counted.';
        COMMENT ON COLUMN dead_letters.stream IS 'Name of the stream.';
        COMMENT ON COLUMN dead_letters.partition IS 'The stream''s partition.';
        COMMENT ON COLUMN dead_letters.seq IS 'Stream sequence of the message.';
        COMMENT ON COLUMN dead_letters.idx IS 'Position of the event in its message, from 0; -1 for the whole message.';
        COMMENT ON COLUMN dead_letters.reason IS 'Machine-readable.';
        COMMENT ON COLUMN dead_letters.detail IS 'For people.';
        COMMENT ON COLUMN dead_letters.payload IS 'The message''s first 4096 bytes; empty for an event.';
        COMMENT ON COLUMN dead_letters.recorded_at IS 'Server time.';

        CREATE TABLE lost_ranges (
            stream text NOT NULL,
            partition integer NOT NULL,
            generation integer NOT NULL,
            first_seq bigint NOT NULL,
            last_seq bigint NOT NULL,
            detected_at timestamptz NOT NULL,
            reason text NOT NULL,
            PRIMARY KEY (stream, partition, generation, first_seq)
        );
        COMMENT ON TABLE lost_ranges IS
            'Stream sequences that were needed and could not be read any more. Every row is a loss of acknowledged data, or of the proof that there was none.';
        COMMENT ON COLUMN lost_ranges.stream IS 'Name of the stream.';
        COMMENT ON COLUMN lost_ranges.partition IS 'The stream''s partition.';
        COMMENT ON COLUMN lost_ranges.generation IS 'Generation in which the sequences counted.';
        COMMENT ON COLUMN lost_ranges.first_seq IS 'First sequence that is gone.';
        COMMENT ON COLUMN lost_ranges.last_seq IS 'Last sequence that is gone.';
        COMMENT ON COLUMN lost_ranges.detected_at IS 'Server time.';
        COMMENT ON COLUMN lost_ranges.reason IS 'Machine-readable.';

        CREATE TABLE crash_ledger (
            stream text NOT NULL,
            partition integer NOT NULL,
            seq bigint NOT NULL,
            tries integer NOT NULL,
            last_at timestamptz NOT NULL,
            PRIMARY KEY (stream, partition, seq)
        );
        COMMENT ON TABLE crash_ledger IS
            'Messages whose processing began and did not end: a message that keeps crashing its reader is found here and set aside.';
        COMMENT ON COLUMN crash_ledger.stream IS 'Name of the stream.';
        COMMENT ON COLUMN crash_ledger.partition IS 'The stream''s partition.';
        COMMENT ON COLUMN crash_ledger.seq IS 'Stream sequence of the message.';
        COMMENT ON COLUMN crash_ledger.tries IS 'How often its processing began.';
        COMMENT ON COLUMN crash_ledger.last_at IS 'Server time of the last try.';
        """)
