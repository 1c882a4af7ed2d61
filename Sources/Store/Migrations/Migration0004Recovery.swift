/// What recovery and the sharing of partitions need to know.
let migration0004Recovery = Migration(
    version: 4, name: "recovery",
    sql: """
        ALTER TABLE partition_progress
            ADD COLUMN counted_through_seq bigint NOT NULL DEFAULT 0;
        COMMENT ON COLUMN partition_progress.counted_through_seq IS 'Messages up to this sequence that are read again, because the stream was cut and continued, have been counted before; 0 when there are none.';
        COMMENT ON COLUMN partition_progress.anchors IS 'Messages to recognise the stream by, newest first: sequence, broker''s Unix ms, XXH64 of the payload.';
        COMMENT ON COLUMN partition_progress.state IS 'free: nobody reads; running: somebody does.';

        CREATE TABLE aggregator_instances (
            instance_id text PRIMARY KEY,
            seen_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL
        ) WITH (fillfactor = 20);
        COMMENT ON TABLE aggregator_instances IS
            'The aggregators that live, among which the partitions are shared.';
        COMMENT ON COLUMN aggregator_instances.instance_id IS 'The name under which it owns partitions.';
        COMMENT ON COLUMN aggregator_instances.seen_at IS 'Server time of its last sign of life.';
        COMMENT ON COLUMN aggregator_instances.expires_at IS 'Not counted on after this, by the server''s clock.';

        CREATE TABLE stream_trims (
            stream text PRIMARY KEY,
            stream_created_ns bigint NOT NULL,
            below_seq bigint NOT NULL,
            trimmed_at timestamptz NOT NULL
        );
        COMMENT ON TABLE stream_trims IS
            'What aggregators removed from a stream, when nobody needed it any more. Written before the removal: what is missing beyond it was removed by somebody else.';
        COMMENT ON COLUMN stream_trims.stream IS 'Name of the stream.';
        COMMENT ON COLUMN stream_trims.stream_created_ns IS 'When the stream was created, Unix ns.';
        COMMENT ON COLUMN stream_trims.below_seq IS 'Messages below this sequence were removed.';
        COMMENT ON COLUMN stream_trims.trimmed_at IS 'Server time.';
        """)
