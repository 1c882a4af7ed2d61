internal import Glibc
internal import Postgres

/// Failing over to a replica, with or without its last commits.
extension PostgresServer {
    /// Whether the server follows a primary and takes no writes.
    package func isReplica() throws(PrivateServerError) -> Bool {
        try ask("SELECT pg_is_in_recovery()::text") == "true"
    }

    /// The timeline that the server writes on; a promotion begins a new one.
    ///
    /// Not from the control file, which says the old one until the first checkpoint after a promotion.
    package func timeline() throws(PrivateServerError) -> Int {
        let name = try ask("SELECT pg_walfile_name(pg_current_wal_lsn())")
        // Eight hexadecimal digits of a segment's name ("Write-Ahead Log Internals").
        guard let timeline = Int(name.prefix(8), radix: 16) else {
            throw .refused(name: "postgres", reason: "\(name) names no segment of the log")
        }
        return timeline
    }

    /// Cuts a replica off its primary, so that it misses every commit from here on.
    package func stopFollowing() throws(PrivateServerError) {
        try execute("ALTER SYSTEM SET primary_conninfo = ''")
        _ = try ask("SELECT pg_reload_conf()::text")
        try wait("the replica still follows") { () throws(PrivateServerError) in
            try ask("SELECT count(*)::text FROM pg_stat_wal_receiver") == "0"
        }
    }

    /// Makes a primary of a replica; returns when it takes writes.
    package func promote() throws(PrivateServerError) {
        let isPromoted = try ask("SELECT pg_promote(true, \(promotionSeconds))::text")
        guard isPromoted == "true" else {
            throw .refused(name: "postgres", reason: "the promotion did not end in time")
        }
    }

    /// Waits until `replica` has everything that is committed here now.
    package func awaitReplay(by replica: PostgresServer) throws(PrivateServerError) {
        let position = try ask("SELECT pg_current_wal_lsn()::text")
        try replica.wait("the replica does not catch up") { () throws(PrivateServerError) in
            try replica.ask(
                "SELECT (pg_last_wal_replay_lsn() >= '\(position)'::pg_lsn)::text") == "true"
        }
    }

    private func wait(
        _ failure: String, until condition: () throws(PrivateServerError) -> Bool
    ) throws(PrivateServerError) {
        let deadline = ContinuousClock.now + settings.readyLimit
        while try !condition() {
            guard ContinuousClock.now < deadline else {
                throw .refused(name: "postgres", reason: failure)
            }
            usleep(replicationPollMicroseconds)
        }
    }

    private func ask(_ sql: String) throws(PrivateServerError) -> String {
        do throws(PostgresError) {
            guard var row = try connect().query(sql).first else {
                throw PostgresError(.unexpectedResult, "no row")
            }
            return try row.next(String.self)
        } catch {
            throw .refused(name: "postgres", reason: "\(error)")
        }
    }

    private func execute(_ sql: String) throws(PrivateServerError) {
        do throws(PostgresError) {
            try connect().execute(sql)
        } catch {
            throw .refused(name: "postgres", reason: "\(error)")
        }
    }

    private func connect() throws(PostgresError) -> PostgresConnection {
        try PostgresConnection(to: PostgresConnectionString(superuserURL()))
    }
}

/// How long a promotion may take, seconds.
private let promotionSeconds = 30

/// How often a replica is asked how far it is.
private let replicationPollMicroseconds: UInt32 = 5_000
