internal import Postgres

/// What keeps tables and indexes from being cleaned, and what is left uncleaned.
extension DatabaseCheck {
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
}
