internal import FoundationEssentials
internal import Postgres
package import Telemetry
package import Windowing

/// A heartbeat and where it stood in its stream.
package struct HeartbeatRow: Hashable, Sendable {
    package let heartbeat: Heartbeat
    /// When the server received it, Unix milliseconds.
    package let receivedAtMilliseconds: Int64
    /// Its stream sequence.
    package let sequence: UInt64

    package init(heartbeat: Heartbeat, receivedAtMilliseconds: Int64, sequence: UInt64) {
        self.heartbeat = heartbeat
        self.receivedAtMilliseconds = receivedAtMilliseconds
        self.sequence = sequence
    }
}

/// All that one transaction writes for the stream of heartbeats.
package struct HeartbeatBatch: Sendable {
    /// The `committed_seq` that the table must still have.
    package let expectedSequence: UInt64
    /// Progress after the transaction; a heartbeat is an event of its counters.
    package let progress: PartitionProgress
    /// In any order; of several from one probe the newest counts.
    package let heartbeats: [HeartbeatRow]
    package let deadLetters: [DeadLetter]
    /// The messages to recognise the stream by, newest first; nil leaves those in the table.
    package var anchors: [LogAnchor]?
    /// When the stream was made, Unix nanoseconds; nil leaves what the table has.
    package var logCreatedNanoseconds: Int64?

    package init(
        expectedSequence: UInt64, progress: PartitionProgress, heartbeats: [HeartbeatRow],
        deadLetters: [DeadLetter] = []
    ) {
        self.expectedSequence = expectedSequence
        self.progress = progress
        self.heartbeats = heartbeats
        self.deadLetters = deadLetters
    }
}

extension AggregateStore {
    /// Writes what the newest heartbeats say into `probes`, together with the stream's progress.
    ///
    /// Replaying a heartbeat changes nothing: a row keeps the newest by stream sequence.
    package func upsertProbes(
        _ batch: HeartbeatBatch, by ownership: PartitionOwnership
    ) throws(FlushError) -> FlushReceipt {
        let probes = Self.newest(batch.heartbeats)
        var steps = FlushSteps()
        steps.append(
            Self.fence(
                ownership, batch.expectedSequence, batch.progress, batch.anchors,
                createdNanoseconds: batch.logCreatedNanoseconds))
        let step = probes.isEmpty ? nil : steps.append(Self.upsert(probes, ownership))
        if !batch.deadLetters.isEmpty {
            steps.append(Self.insert(batch.deadLetters, ownership))
        }
        let results = try run(steps.pipeline)
        var receipt = FlushReceipt()
        if let step { receipt.blockedProbes = probes.count - results[step].affectedRows }
        return receipt
    }

    private struct Probe {
        var newest: HeartbeatRow
        var firstReceivedAtMilliseconds: Int64
        var lastReceivedAtMilliseconds: Int64
    }

    /// One row per probe, in the order of their names.
    private static func newest(_ rows: [HeartbeatRow]) -> [Probe] {
        var probes: [Name: Probe] = [:]
        for row in rows {
            let received = row.receivedAtMilliseconds
            guard var probe = probes[row.heartbeat.clientID] else {
                probes[row.heartbeat.clientID] = Probe(
                    newest: row, firstReceivedAtMilliseconds: received,
                    lastReceivedAtMilliseconds: received)
                continue
            }
            if row.sequence >= probe.newest.sequence { probe.newest = row }
            probe.firstReceivedAtMilliseconds = min(probe.firstReceivedAtMilliseconds, received)
            probe.lastReceivedAtMilliseconds = max(probe.lastReceivedAtMilliseconds, received)
            probes[row.heartbeat.clientID] = probe
        }
        return probes.values.sorted { $0.newest.heartbeat.clientID < $1.newest.heartbeat.clientID }
    }

    /// The columns that a heartbeat fills, each with its type and what it says.
    private static let columns: [HeartbeatColumn] = [
        .init("probe_ts", { PostgresTimestamp(milliseconds: $0.sentAtMilliseconds) }),
        .init("session_id", { $0.session.map(PostgresUUID.init) }),
        .init("version", { $0.version?.withoutNull }),
        .init("build", { $0.build?.withoutNull }),
        .init("uptime_s", { $0.uptimeSeconds }),
        .init("hostname", { $0.hostname?.withoutNull }),
        .init("source_address", { $0.sourceAddress?.withoutNull }),
        .init("external_address", { $0.externalAddress?.withoutNull }),
        .init("labels", { heartbeat in heartbeat.labels.flatMap { json($0) } }),
        .init("configuration_hash", { $0.configurationHash?.withoutNull }),
        .init("spool_depth", { $0.spoolDepth }),
        .init("spool_oldest_age_s", { $0.spoolOldestAgeSeconds }),
        .init("drops", { $0.drops }),
        .init("clock_offset_ms", { $0.clockOffsetMilliseconds }),
        .init("clock_uncertainty_ms", { $0.clockUncertaintyMilliseconds }),
        .init("cpu_pct", { $0.cpuPercent }),
        .init("memory_bytes", { $0.memoryBytes }),
        .init("last_error", { $0.lastError?.withoutNull }),
        .init("active_targets", { $0.activeTargets }),
        // A list in a list needs a form of its own to travel in.
        .init("capabilities", { heartbeat in heartbeat.capabilities.flatMap { json($0) } }),
    ]

    private struct HeartbeatColumn: Sendable {
        let name: String
        let append: @Sendable (inout PostgresParameters, [Probe]) -> Void

        init<Value: PostgresType>(
            _ name: String, _ value: @escaping @Sendable (Heartbeat) -> Value?
        ) {
            self.name = name
            append = { parameters, probes in
                parameters.append(arrayOf: probes) { value($0.newest.heartbeat) }
            }
        }
    }

    private static func json(_ value: some Encodable) -> PostgresJSON? {
        // Strings and objects of strings can always be encoded; jsonb refuses U+0000 alone.
        (try? JSONEncoder().encode(value)).map { bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            return PostgresJSON(text.replacing("\\u0000", with: "\\ufffd"))
        }
    }

    private static func upsert(_ probes: [Probe], _ ownership: PartitionOwnership) -> Step {
        var parameters = PostgresParameters()
        parameters.append(ownership.generation)
        parameters.append(arrayOf: probes) { $0.newest.heartbeat.clientID.text }
        parameters.append(arrayOf: probes) {
            PostgresTimestamp(milliseconds: $0.firstReceivedAtMilliseconds)
        }
        parameters.append(arrayOf: probes) {
            PostgresTimestamp(milliseconds: $0.lastReceivedAtMilliseconds)
        }
        parameters.append(arrayOf: probes) { Int64(clamping: $0.newest.sequence) }
        for column in columns { column.append(&parameters, probes) }
        return (upsertProbesStatement, parameters)
    }

    private static let upsertProbesStatement: PostgresStatement = {
        let names = columns.map(\.name)
        let list = names.joined(separator: ", ")
        let values = names.map { name in
            name == "capabilities"
                ? "ARRAY(SELECT jsonb_array_elements_text(h.capabilities))" : "h.\(name)"
        }
        // A probe that says nothing of its capabilities has NULL, not an empty list.
        let selected = values.map { value in
            value.hasPrefix("ARRAY")
                ? "CASE WHEN h.capabilities IS NOT NULL THEN \(value) END" : value
        }
        let sources = (2..<(6 + names.count)).map { "$\($0)" }.joined(separator: ", ")
        let changes = names + ["heartbeat_generation", "heartbeat_seq", "updated_at"]
        return PostgresStatement(
            "upsert_probes",
            """
            INSERT INTO probes AS t (client_id, first_seen, last_seen, heartbeat_seq, \(list),
                heartbeat_generation, updated_at)
            SELECT h.client_id, h.first_seen, h.last_seen, h.heartbeat_seq,
                \(selected.joined(separator: ", ")), $1, now()
            FROM unnest(\(sources))
                AS h (client_id, first_seen, last_seen, heartbeat_seq, \(list))
            ON CONFLICT (client_id) DO UPDATE SET
                first_seen = least(t.first_seen, EXCLUDED.first_seen),
                last_seen = greatest(t.last_seen, EXCLUDED.last_seen),
                \(changes.map { "\($0) = EXCLUDED.\($0)" }.joined(separator: ", "))
            WHERE (t.heartbeat_generation, t.heartbeat_seq)
                < (EXCLUDED.heartbeat_generation, EXCLUDED.heartbeat_seq)
            """)
    }()
}
