internal import Glibc
internal import Postgres

/// What the server says of itself.
extension DatabaseCheck {
    func server() throws -> [Finding] {
        var row = try row(
            """
            SELECT current_setting('server_version'), current_database()::text, current_user::text,
                extract(epoch FROM now() - pg_postmaster_start_time())::float8
            """)
        let version = try row.next(String.self)
        let name = try row.next(String.self)
        let role = try row.next(String.self)
        let uptime = try row.next(Double.self)
        return [
            Finding(
                .ok, "server",
                "PostgreSQL \(version) at \(database.host ?? "?"), "
                    + "\(isReplica ? "a replica" : "the primary"), up for \(timeText(uptime)), "
                    + "database \(name), asked as \(role)")
        ]
    }

    /// Settings without which a commit is no promise.
    func settings() throws -> [Finding] {
        let wanted: [(name: String, level: Finding.Level, why: String)] = [
            ("fsync", .critical, "a crash of the machine can destroy the database"),
            ("full_page_writes", .critical, "a crash of the machine can destroy pages"),
            ("autovacuum", .critical, "tables grow without end, and then writing stops"),
            (
                "synchronous_commit", .warning,
                "a crash loses the last commits; aggregators set it to on for themselves, others "
                    + "do not"
            ),
            ("data_checksums", .warning, "damage by a disk is not noticed"),
            ("track_counts", .warning, "autovacuum does not know what to do"),
        ]
        var findings: [Finding] = []
        for setting in wanted {
            var row = try row("SELECT current_setting('\(setting.name)')")
            guard try row.next(String.self) == "off" else { continue }
            findings.append(
                Finding(
                    setting.level, "settings", "\(setting.name) is off: \(setting.why)",
                    advice: setting.name == "data_checksums"
                        ? "stop the server and run pg_checksums --enable"
                        : "ALTER SYSTEM SET \(setting.name) = on, then reload or restart"))
        }
        let names = wanted.map(\.name).joined(separator: ", ")
        return findings.isEmpty ? [Finding(.ok, "settings", "on: \(names)")] : findings
    }

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
        guard let state = try ReplicaState.of(database) else {
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

    func connections() throws -> [Finding] {
        var row = try row(
            """
            SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
                    OR backend_type IS NULL),
                current_setting('max_connections')::bigint
                    - current_setting('superuser_reserved_connections')::bigint
            """)
        let used = try row.next(Int64.self)
        let all = try row.next(Int64.self)
        return [
            Finding(
                "connections", "\(used) of \(all) are used", Double(used) / Double(max(all, 1)),
                limits.connectionShare,
                advice: "see pg_stat_activity for who holds them; raise max_connections, or put a "
                    + "pooler before those who ask")
        ]
    }

    func transactions() throws -> [Finding] {
        guard seesStatistics else { return [cannotSee("transactions")] }
        var findings: [Finding] = []
        for var row in try rows(
            """
            SELECT pid, coalesce(application_name, ''), coalesce(usename, '')::text,
                coalesce(state, ''), extract(epoch FROM now() - xact_start)::float8
            FROM pg_stat_activity
            WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid()
                AND backend_type = 'client backend'
                AND now() - xact_start > \(limits.transactionSeconds.warning) * interval '1 second'
            ORDER BY xact_start LIMIT 5
            """)
        {
            let pid = try row.next(Int32.self)
            let application = PayloadText.printable(try row.next(String.self))
            let role = try row.next(String.self)
            let state = try row.next(String.self)
            let seconds = try row.next(Double.self)
            findings.append(
                Finding(
                    "transactions",
                    "process \(pid) (\(application), role \(role)) is in a transaction for "
                        + "\(timeText(seconds)), \(state)", seconds, limits.transactionSeconds,
                    advice: "ask who that is; SELECT pg_terminate_backend(\(pid)) ends it"))
        }
        for var row in try rows(
            """
            SELECT gid, extract(epoch FROM now() - prepared)::float8 FROM pg_prepared_xacts
            WHERE now() - prepared > \(limits.transactionSeconds.warning) * interval '1 second'
            ORDER BY prepared LIMIT 5
            """)
        {
            let name = PayloadText.printable(try row.next(String.self))
            let seconds = try row.next(Double.self)
            findings.append(
                Finding(
                    "transactions", "'\(name)' is prepared for \(timeText(seconds))", seconds,
                    limits.transactionSeconds,
                    advice:
                        "COMMIT PREPARED or ROLLBACK PREPARED it; none of our programs makes any"
                ))
        }
        let limit = timeText(limits.transactionSeconds.warning)
        return findings.isEmpty
            ? [Finding(.ok, "transactions", "none is older than \(limit)")] : findings
    }

    /// What the oldest snapshot still sees cannot be vacuumed away.
    func horizon() throws -> [Finding] {
        guard seesStatistics else { return [cannotSee("vacuum horizon")] }
        var oldest: (age: Double, holder: String)?
        for var row in try rows(
            """
            SELECT age(backend_xmin)::float8,
                'process ' || pid || ' (' || coalesce(application_name, '') || ')'
            FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()
            UNION ALL
            SELECT age(x)::float8, 'replication slot ' || slot_name
            FROM pg_replication_slots, LATERAL (VALUES (xmin), (catalog_xmin)) AS v (x)
            WHERE x IS NOT NULL
            UNION ALL
            SELECT age(transaction)::float8, 'prepared transaction ' || gid FROM pg_prepared_xacts
            ORDER BY 1 DESC LIMIT 1
            """)
        {
            oldest = (try row.next(), PayloadText.printable(try row.next(String.self)))
        }
        guard let oldest else { return [Finding(.ok, "vacuum horizon", "nothing holds it back")] }
        return [
            Finding(
                "vacuum horizon",
                "\(oldest.holder) holds it back by \(shortNumber(oldest.age)) transactions",
                oldest.age, limits.horizonTransactions,
                advice: "dead rows stay until it ends: end the session, or drop the slot")
        ]
    }

    func transactionIDs() throws -> [Finding] {
        var row = try row(
            """
            SELECT datname::text, age(datfrozenxid)::float8
                    / current_setting('autovacuum_freeze_max_age')::float8,
                mxid_age(datminmxid)::float8
                    / current_setting('autovacuum_multixact_freeze_max_age')::float8
            FROM pg_database
            ORDER BY greatest(age(datfrozenxid), mxid_age(datminmxid)) DESC LIMIT 1
            """)
        let name = try row.next(String.self)
        let share = max(try row.next(Double.self), try row.next(Double.self))
        return [
            Finding(
                "transaction ids",
                "the oldest, of database \(name), are at \(percentText(share)) of where autovacuum "
                    + "freezes them", share, limits.freezeShare,
                advice: "autovacuum does not keep up: end what holds the vacuum horizon back, then "
                    + "VACUUM (FREEZE) the oldest tables")
        ]
    }

    func deadRows() throws -> [Finding] {
        if isReplica {
            return [Finding(.unseen, "dead rows", "only the primary counts them: ask that one")]
        }
        var findings: [Finding] = []
        var total: Int64 = 0
        for var row in try rows(
            """
            SELECT relid::regclass::text, n_live_tup, n_dead_tup, last_autovacuum::timestamp(0)::text,
                pg_table_size(relid)
            FROM pg_stat_user_tables WHERE n_dead_tup > 0 ORDER BY n_dead_tup DESC
            """)
        {
            let name = try row.next(String.self)
            let live = try row.next(Int64.self)
            let dead = try row.next(Int64.self)
            let vacuumed = try row.nextOptional(String.self)
            let size = try row.nextOptional(Int64.self) ?? 0
            total &+= dead
            let share = Double(dead) / Double(max(live &+ dead, 1))
            let level = limits.deadShare.level(of: share)
            guard level != .ok, Double(dead) >= limits.deadRowsMin, findings.count < 5 else {
                continue
            }
            findings.append(
                Finding(
                    level, "dead rows",
                    "\(percentText(share)) of \(name) (\(dead) rows, \(byteText(size))), last "
                        + "autovacuum \(vacuumed ?? "never")",
                    advice: "VACUUM (VERBOSE) \(name); see what holds the vacuum horizon back"))
        }
        return findings.isEmpty
            ? [Finding(.ok, "dead rows", "\(total) in all tables; autovacuum keeps up")] : findings
    }

    /// Indexes that a failed build left behind: they cost writes and answer nothing.
    func indexes() throws -> [Finding] {
        var findings: [Finding] = []
        for var row in try rows(
            """
            SELECT i.indexrelid::regclass::text, c.relkind = 'I'
            FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
            WHERE NOT i.indisvalid AND c.relnamespace <> 'pg_toast'::regnamespace ORDER BY 1
            """)
        {
            let name = try row.next(String.self)
            let isParent = try row.next(Bool.self)
            findings.append(
                Finding(
                    .warning, "indexes",
                    "\(name) is not valid\(isParent ? ": some partition lacks it" : "")",
                    advice: isParent
                        ? "make it on every partition and ALTER INDEX \(name) ATTACH PARTITION it"
                        : "REINDEX INDEX CONCURRENTLY \(name), or drop it"))
        }
        return findings.isEmpty ? [Finding(.ok, "indexes", "all are valid")] : findings
    }

    func size() throws -> [Finding] {
        var row = try row(
            """
            SELECT pg_database_size(current_database()),
                (SELECT string_agg(part, ', ') FROM (
                    SELECT t || ' ' || pg_size_pretty(sum(pg_total_relation_size(p.relid))) AS part
                    FROM unnest('{agg_1m,agg_1h,agg_1d}'::text[]) AS t
                    CROSS JOIN LATERAL pg_partition_tree(to_regclass(t)) AS p
                    GROUP BY t ORDER BY t DESC) AS parts)
            """)
        let bytes = try row.next(Int64.self)
        let parts = try row.nextOptional(String.self)
        return [
            Finding(
                .ok, "size",
                "the database takes \(byteText(bytes))" + (parts.map { ": \($0)" } ?? ""))
        ]
    }

    /// How full the disk is, where this program runs on the server's machine.
    func disk() throws -> [Finding] {
        var row = try row(
            """
            SELECT coalesce(inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1', true),
                CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE')
                    THEN current_setting('data_directory') END
            """)
        let isHere = try row.next(Bool.self)
        guard let folder = try row.nextOptional(String.self) else { return [cannotSee("disk")] }
        var status = statvfs()
        guard isHere, statvfs("\(folder)/pg_wal", &status) == 0, status.f_blocks > 0 else {
            return [
                Finding(.unseen, "disk", "cannot see: \(folder) is not readable from this machine")
            ]
        }
        let free = Double(status.f_bavail) / Double(status.f_blocks)
        let bytes = Int64(
            clamping: UInt64(status.f_bavail).multipliedReportingOverflow(
                by: UInt64(status.f_frsize)
            ).partialValue)
        return [
            Finding(
                "disk", "\(byteText(bytes)) (\(percentText(free))) are free under \(folder)",
                1 - free, limits.diskShare,
                advice: "a full disk stops the server: shorten the retention, or give it more disk")
        ]
    }
}

extension Int64 {
    /// `value` rounded, at the nearest end where it does not fit.
    fileprivate init(clamping value: Double) {
        // The first double beyond is 2^63.
        self = value.isNaN ? 0 : value >= 0x1p63 ? .max : value <= -0x1p63 ? .min : Int64(value)
    }
}
