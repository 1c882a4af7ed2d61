/// What a probe says about itself, every 30 s; nil where it did not say.
///
/// The JSON form, on HTTP and on the bus, has the names of ``CodingKeys``; `recv_ts_ms` and
/// `source_address` are `ingest`'s and overwrite whatever a client sends there.
package struct Heartbeat: Hashable, Sendable, Codable {
    package var clientID: Name
    /// The probe's clock when it was made, Unix milliseconds.
    package var sentAtMilliseconds: Int64
    /// The server's clock when it was received, Unix milliseconds.
    package var receivedAtMilliseconds: Int64?
    package var session: UniqueID?
    package var version: String?
    package var build: String?
    package var uptimeSeconds: Double?
    package var hostname: String?
    /// The address `ingest` saw the connection come from.
    package var sourceAddress: String?
    /// The address the probe believes the outside sees.
    package var externalAddress: String?
    package var labels: [String: String]?
    package var capabilities: [String]?
    package var configurationHash: String?
    /// Events waiting to be posted.
    package var spoolDepth: Int64?
    package var spoolOldestAgeSeconds: Double?
    /// Events dropped since the probe's start.
    package var drops: Int64?
    /// What has to be added to the probe's wall clock for the server's time (as in RFC 5905, section 8).
    package var clockOffsetMilliseconds: Double?
    /// How far off ``clockOffsetMilliseconds`` may be.
    package var clockUncertaintyMilliseconds: Double?
    package var cpuPercent: Double?
    package var memoryBytes: Int64?
    package var lastError: String?
    package var activeTargets: Int64?

    package init(clientID: Name, sentAtMilliseconds: Int64) {
        self.clientID = clientID
        self.sentAtMilliseconds = sentAtMilliseconds
    }

    /// The members of the JSON form.
    package enum CodingKeys: String, CodingKey, CaseIterable {
        case clientID = "client_id"
        case sentAtMilliseconds = "ts_ms"
        case receivedAtMilliseconds = "recv_ts_ms"
        case session = "session_id"
        case version
        case build
        case uptimeSeconds = "uptime_s"
        case hostname
        case sourceAddress = "source_address"
        case externalAddress = "external_address"
        case labels
        case capabilities
        case configurationHash = "configuration_hash"
        case spoolDepth = "spool_depth"
        case spoolOldestAgeSeconds = "spool_oldest_age_s"
        case drops
        case clockOffsetMilliseconds = "clock_offset_ms"
        case clockUncertaintyMilliseconds = "clock_uncertainty_ms"
        case cpuPercent = "cpu_pct"
        case memoryBytes = "memory_bytes"
        case lastError = "last_error"
        case activeTargets = "active_targets"
    }
}
