/// Says of the probes' clocks what the numbers always meant to say: the sign of RFC 5905.
let migration0010ClockSign = Migration(
    version: 10, name: "clock_sign", runsAsOwner: true,
    sql: """
        COMMENT ON COLUMN probes.clock_offset_ms IS
            'What to add to the probe''s wall clock to have the time of ingest, ms (RFC 5905). The times of its events have it added.';
        """)
