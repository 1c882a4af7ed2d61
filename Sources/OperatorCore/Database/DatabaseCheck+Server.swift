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
