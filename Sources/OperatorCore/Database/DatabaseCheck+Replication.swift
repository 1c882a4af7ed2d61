internal import Postgres

/// What leaves the server: to replicas and to the archive.
extension DatabaseCheck {
    func replication() throws -> [Finding] {
        if isReplica { return [try ownLag()] }
        guard seesStatistics else { return [cannotSee("replication")] }
        var findings: [Finding] = []
        for var row in try rows(
            """
            SELECT application_name || coalesce(' at ' || host(client_addr), ''), state, sync_state,
                pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::float8,
                extract(epoch FROM replay_lag)::float8
            FROM pg_stat_replication WHERE state <> 'backup' ORDER BY 1
            """)
        {
            let name = PayloadText.printable(try row.next(String.self))
            let state = try row.next(String.self)
            let sync = try row.nextOptional(String.self) ?? "?"
            let bytes = try row.nextOptional(Double.self) ?? 0
            let seconds = try row.nextOptional(Double.self) ?? 0
            let level: Finding.Level = max(
                limits.lagBytes.level(of: bytes), limits.lagSeconds.level(of: seconds),
                state == "streaming" ? Finding.Level.ok : .warning)
            findings.append(
                Finding(
                    level, "replication",
                    "replica \(name) is \(state) (\(sync)), \(byteText(Int64(clamping: bytes))) and "
                        + "\(timeText(seconds)) behind",
                    advice: level == .ok
                        ? nil : "look at the replica's log, its disk and the network to it"))
        }
        return findings.isEmpty
            ? [Finding(.ok, "replication", "no replica is connected")] : findings
    }

    private func ownLag() throws -> Finding {
        guard let state = try PostgresReplicaState.of(database) else {
            return Finding(.ok, "replication", "was promoted just now")
        }
        guard state.isFollowing else {
            return Finding(
                .critical, "replication", "\(state)",
                advice: "see whether the primary runs and primary_conninfo names it; promote this "
                    + "one if the primary is gone")
        }
        // A primary where nothing happens has no newer commit to send.
        let seconds = state.hasReplayedAll ? 0 : state.seconds ?? 0
        return Finding(
            "replication", "\(state)", seconds, limits.lagSeconds,
            advice: "look at the disk of this machine, and for long queries here that hold replay")
    }

    /// Slots that nobody reads keep the log until the disk is full.
    func slots() throws -> [Finding] {
        var findings: [Finding] = []
        for var row in try rows(
            """
            SELECT slot_name::text, active, coalesce(wal_status, ''),
                pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                    ELSE pg_current_wal_lsn() END, restart_lsn)::float8
            FROM pg_replication_slots WHERE NOT temporary ORDER BY 1
            """)
        {
            let name = try row.next(String.self)
            let isActive = try row.next(Bool.self)
            let status = try row.next(String.self)
            let bytes = try row.nextOptional(Double.self) ?? 0
            let isLost = status == "lost"
            let level: Finding.Level = max(
                limits.slotBytes.level(of: bytes),
                isLost
                    ? Finding.Level.critical : isActive && status != "unreserved" ? .ok : .warning)
            findings.append(
                Finding(
                    level, "replication slots",
                    "slot \(name) is \(isActive ? "in use" : "not in use") and keeps "
                        + "\(byteText(Int64(clamping: bytes))) of log"
                        + (isLost ? "; what its reader needs is gone" : ""),
                    advice: level == .ok
                        ? nil
                        : "bring its replica back, or SELECT pg_drop_replication_slot('\(name)'); "
                            + "max_slot_wal_keep_size bounds what slots keep"))
        }
        return findings.isEmpty ? [Finding(.ok, "replication slots", "there are none")] : findings
    }

    func archive() throws -> [Finding] {
        var row = try row(
            """
            SELECT current_setting('archive_mode'), last_archived_wal,
                extract(epoch FROM now() - last_archived_time)::float8, last_failed_wal,
                coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false),
                coalesce(extract(epoch FROM now() - last_failed_time)::float8, 0)
            FROM pg_stat_archiver
            """)
        guard try row.next(String.self) != "off" else {
            return [
                Finding(
                    .ok, "archive", "the log is not archived; base backups restore to their end")
            ]
        }
        let archived = try row.nextOptional(String.self)
        let age = try row.nextOptional(Double.self)
        let failed = try row.nextOptional(String.self)
        if try row.next(Bool.self), let failed {
            let since = try row.next(Double.self)
            return [
                Finding(
                    .critical, "archive",
                    "\(failed) could not be archived \(timeText(since)) ago, and nothing since",
                    advice: "see the server's log for what archive_command said; the log stays on "
                        + "the disk until it is archived")
            ]
        }
        let last = archived.map { "\($0), \(timeText(age ?? 0)) ago" } ?? "nothing yet"
        return [Finding(.ok, "archive", "last archived: \(last)")]
    }
}
