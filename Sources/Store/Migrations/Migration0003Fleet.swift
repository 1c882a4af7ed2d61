/// The fleet registry.
let migration0003Fleet = Migration(
    version: 3, name: "fleet",
    sql: """
        CREATE TABLE probes (
            client_id text COLLATE "C" PRIMARY KEY,
            first_seen timestamptz NOT NULL,
            last_seen timestamptz NOT NULL,
            probe_ts timestamptz,
            session_id uuid,
            version text,
            build text,
            uptime_s double precision,
            hostname text,
            source_address text,
            external_address text,
            labels jsonb,
            capabilities text[],
            configuration_hash text,
            spool_depth bigint,
            spool_oldest_age_s double precision,
            drops bigint,
            clock_offset_ms double precision,
            clock_uncertainty_ms double precision,
            cpu_pct double precision,
            memory_bytes bigint,
            last_error text,
            active_targets bigint,
            heartbeat_generation integer NOT NULL,
            heartbeat_seq bigint NOT NULL,
            updated_at timestamptz NOT NULL
        ) WITH (fillfactor = 50);
        COMMENT ON TABLE probes IS
            'One row per probe: what its newest heartbeat said. NULL means that it did not say.';
        COMMENT ON COLUMN probes.client_id IS 'The probe.';
        COMMENT ON COLUMN probes.first_seen IS 'When the server received its first heartbeat.';
        COMMENT ON COLUMN probes.last_seen IS 'When the server received its newest heartbeat, by the server''s clock.';
        COMMENT ON COLUMN probes.probe_ts IS 'When the newest heartbeat was made, by the probe''s clock.';
        COMMENT ON COLUMN probes.session_id IS 'The run of the probe; new at every start.';
        COMMENT ON COLUMN probes.version IS 'Version of the probe.';
        COMMENT ON COLUMN probes.build IS 'Build of the probe.';
        COMMENT ON COLUMN probes.uptime_s IS 'Seconds since the probe started.';
        COMMENT ON COLUMN probes.hostname IS 'Name of the probe''s machine.';
        COMMENT ON COLUMN probes.source_address IS 'Address the heartbeat came from, as ingest saw it.';
        COMMENT ON COLUMN probes.external_address IS 'Address the probe believes the outside sees.';
        COMMENT ON COLUMN probes.labels IS 'Object of texts, set by whoever runs the probe.';
        COMMENT ON COLUMN probes.capabilities IS 'What the probe can measure.';
        COMMENT ON COLUMN probes.configuration_hash IS 'Hash of the assignments the probe follows.';
        COMMENT ON COLUMN probes.spool_depth IS 'Events waiting to be posted.';
        COMMENT ON COLUMN probes.spool_oldest_age_s IS 'Age of the oldest of them, seconds.';
        COMMENT ON COLUMN probes.drops IS 'Events dropped since the probe''s start.';
        COMMENT ON COLUMN probes.clock_offset_ms IS 'The probe''s clock minus the server''s, ms.';
        COMMENT ON COLUMN probes.clock_uncertainty_ms IS 'The offset may be wrong by this much, ms.';
        COMMENT ON COLUMN probes.cpu_pct IS 'CPU use of the probe, percent of one core.';
        COMMENT ON COLUMN probes.memory_bytes IS 'Resident memory of the probe, bytes.';
        COMMENT ON COLUMN probes.last_error IS 'The probe''s last error, for people.';
        COMMENT ON COLUMN probes.active_targets IS 'How many targets the probe measures.';
        COMMENT ON COLUMN probes.heartbeat_generation IS 'Generation of the heartbeat stream that heartbeat_seq counts in.';
        COMMENT ON COLUMN probes.heartbeat_seq IS 'Stream sequence of the newest heartbeat; an older one changes nothing.';
        COMMENT ON COLUMN probes.updated_at IS 'Start of the transaction that wrote the row.';

        CREATE VIEW probe_states AS
            SELECT p.*, extract(epoch FROM now() - p.last_seen)::double precision AS silent_s,
                CASE
                    WHEN p.last_seen >= now() - interval '90 seconds' THEN 'online'
                    WHEN p.last_seen >= now() - interval '5 minutes' THEN 'late'
                    ELSE 'offline'
                END AS state
            FROM probes AS p;
        COMMENT ON VIEW probe_states IS
            'probes with their state. A probe sends a heartbeat every 30 s: online when the newest is at most 90 s old (two may be lost), late up to 5 minutes, offline after that.';
        COMMENT ON COLUMN probe_states.silent_s IS 'Seconds since the newest heartbeat.';
        COMMENT ON COLUMN probe_states.state IS 'online, late or offline.';
        """)
