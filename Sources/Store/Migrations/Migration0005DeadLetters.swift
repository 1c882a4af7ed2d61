/// What became of dead letters: forwarded to their stream, replayed by an operator.
let migration0005DeadLetters = Migration(
    version: 5, name: "dead letters",
    sql: """
        ALTER TABLE dead_letters
            ADD COLUMN forwarded_at timestamptz,
            ADD COLUMN forwarded_seq bigint,
            ADD COLUMN replayed_at timestamptz,
            ADD COLUMN replayed_seq bigint;
        -- What waits is little, and looked for every second.
        CREATE INDEX dead_letters_waiting ON dead_letters (recorded_at)
            WHERE forwarded_at IS NULL;
        COMMENT ON COLUMN dead_letters.forwarded_at IS 'When it was published to the stream TELEMETRY_DLQ, server time; NULL while that is to be done.';
        COMMENT ON COLUMN dead_letters.forwarded_seq IS 'Its sequence in TELEMETRY_DLQ.';
        COMMENT ON COLUMN dead_letters.replayed_at IS 'When qoectl dlq replay last published it to the events again; NULL when never.';
        COMMENT ON COLUMN dead_letters.replayed_seq IS 'Its sequence in the stream of events then.';
        """)
