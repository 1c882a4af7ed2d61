internal import Postgres
internal import Store

/// What our own tables say.
extension DatabaseCheck {
    func schema() throws -> Finding {
        do throws(SchemaError) {
            let entries = try Schema().status(database)
            let applied = entries.count { $0.appliedAt != nil }
            guard applied == entries.count else {
                return Finding(
                    .critical, "schema", "at version \(applied) of \(entries.count)",
                    advice: "run qoectl db migrate")
            }
            return Finding(.ok, "schema", "at version \(applied), as this program knows it")
        } catch {
            if case .postgres(let cause) = error {
                guard cause.sqlState == .insufficientPrivilege else { throw cause }
                return Finding(
                    .unseen, "schema", "cannot see: the role may not read schema_migrations",
                    advice: "GRANT SELECT ON schema_migrations TO the role that asks")
            }
            return Finding(.critical, "schema", error.description)
        }
    }

    /// Whether every table that is divided by time takes rows for the next days.
    func partitions() throws -> [Finding] {
        try ["agg_1m", "agg_1h", "agg_1d", "agg_dim_1h", "agg_dim_1d"].compactMap { table in
            var row = try row(
                """
                SELECT to_regclass('\(table)') IS NOT NULL,
                    (SELECT count(*) FROM pg_inherits WHERE inhparent = to_regclass('\(table)')),
                    extract(epoch FROM qoe_end - now())::float8, qoe_end::text
                FROM (SELECT \(Self.coveredUntil(table)) AS qoe_end) AS covered
                """)
            guard try row.next(Bool.self) else { return nil }
            let count = try row.next(Int64.self)
            let ahead = try row.nextOptional(Double.self) ?? 0
            let end = try row.nextOptional(String.self)
            let message =
                end.map { "\(table) has \(count) partitions and takes rows up to \($0)" }
                ?? "\(table) has no partition for now"
            let level: Finding.Level =
                ahead < Double(limits.partitionHoursMin) * 3_600
                ? .critical : ahead < Double(limits.partitionDays) * 86_400 ? .warning : .ok
            return Finding(
                level, "partitions", message,
                advice: level == .ok
                    ? nil
                    : "an aggregator makes them ahead: see whether one runs, and its log; "
                        + "qoectl db retain makes them at once")
        }
    }

    /// The end of the partitions of `table` that follow each other from now on; NULL without one for now.
    private static func coveredUntil(_ table: String) -> String {
        """
        (WITH RECURSIVE bounds AS (
            SELECT b[1]::timestamptz AS low, b[2]::timestamptz AS high
            FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
            CROSS JOIN regexp_match(pg_get_expr(c.relpartbound, c.oid),
                'FROM \\(''([^'']+)''\\) TO \\(''([^'']+)''\\)') AS b
            WHERE i.inhparent = to_regclass('\(table)') AND NOT i.inhdetachpending AND b IS NOT NULL
        ), chain AS (
            SELECT high FROM bounds WHERE low <= now() AND high > now()
            UNION SELECT b.high FROM chain AS c JOIN bounds AS b ON b.low = c.high
        ) SELECT max(high) FROM chain)
        """
    }

    /// Partitions whose removal was begun and not ended; they block the next one.
    func pendingDetaches() throws -> [Finding] {
        var findings: [Finding] = []
        for var row in try rows(
            """
            SELECT inhparent::regclass::text, inhrelid::regclass::text FROM pg_inherits
            WHERE inhdetachpending ORDER BY 1, 2
            """)
        {
            let (parent, child) = (try row.next(String.self), try row.next(String.self))
            findings.append(
                Finding(
                    .warning, "detached partitions",
                    "the removal of \(child) from \(parent) was begun and has not ended",
                    advice: "ALTER TABLE \(parent) DETACH PARTITION \(child) FINALIZE"))
        }
        return findings.isEmpty
            ? [Finding(.ok, "detached partitions", "no removal is under way")] : findings
    }

    /// Partitions that retention began to remove and has not.
    func retention() throws -> [Finding] {
        var row = try row(
            """
            SELECT count(*), min(partition_name),
                extract(epoch FROM now() - min(retired_at))::float8
            FROM retired_partitions
            """)
        let count = try row.next(Int64.self)
        guard let example = try row.nextOptional(String.self) else {
            return [Finding(.ok, "retention", "no partition waits to be removed")]
        }
        let age = try row.nextOptional(Double.self) ?? 0
        return [
            Finding(
                "retention",
                "\(count) partitions are being removed, such as \(PayloadText.printable(example)), "
                    + "the first for \(timeText(age))", age, limits.removalSeconds,
                advice:
                    "a long transaction or a backup reads them, or the aggregator's login lacks "
                    + "qoe_owner: GRANT it, or run qoectl db retain with a login that has it")
        ]
    }

    /// How long changed hours and days wait to be made again.
    func rollups() throws -> [Finding] {
        var row = try row(
            """
            SELECT count(DISTINCT (level, window_start_ts)),
                coalesce(extract(epoch FROM now() - min(noted_at)), 0)::float8
            FROM rollup_queue
            """)
        let count = try row.next(Int64.self)
        let age = try row.next(Double.self)
        return [
            Finding(
                "rollups",
                count == 0
                    ? "all hours and days are made"
                    : "\(count) hours and days wait to be made again, the first for \(timeText(age))",
                age, limits.rollupSeconds,
                advice:
                    "aggregators make them: see whether one runs, and its log; qoectl db rollup "
                    + "makes them now")
        ]
    }

    /// How old the newest complete minute is, partition by partition.
    func freshness() throws -> [Finding] {
        var known = 0
        var worst: (seconds: Double, place: String)?
        var findings: [Finding] = []
        for var row in try rows(
            """
            SELECT stream || '/' || partition, state, owner_id,
                extract(epoch FROM now() - complete_through)::float8, committed_seq
            FROM partition_progress ORDER BY stream, partition
            """)
        {
            let place = try row.next(String.self)
            let state = try row.next(String.self)
            let owner = try row.nextOptional(String.self)
            let age = try row.nextOptional(Double.self)
            let committed = try row.next(Int64.self)
            if state == "data_loss" {
                findings.append(
                    Finding(
                        .critical, "freshness", "\(place) misses messages of its stream",
                        advice: "qoectl partitions --lost says which"))
            }
            guard let age else {
                // Heartbeats have no minutes; what was never read has nothing to be late with.
                if owner == nil, committed > 0 {
                    findings.append(
                        Finding(
                            .warning, "freshness", "nobody reads \(place)",
                            advice: "start an aggregator"))
                }
                continue
            }
            known += 1
            if age > worst?.seconds ?? -.infinity { worst = (age, place) }
            let level = limits.freshnessSeconds.level(of: age)
            if level != .ok {
                let reader =
                    owner.map { "read by \(PayloadText.printable($0))" } ?? "read by nobody"
                findings.append(
                    Finding(
                        level, "freshness",
                        "\(place) is complete up to \(timeText(age)) ago, \(reader)",
                        advice: "qoectl partitions shows how far behind the reader is"))
            }
        }
        if !findings.isEmpty { return findings }
        guard let worst else {
            return [Finding(.ok, "freshness", "no partition has a complete minute yet")]
        }
        return [
            Finding(
                .ok, "freshness",
                "\(known) partitions, the oldest (\(worst.place)) complete up to "
                    + "\(timeText(worst.seconds)) ago")
        ]
    }

    func deadLetters() throws -> [Finding] {
        var row = try row(
            """
            SELECT count(*), count(*) FILTER (WHERE forwarded_at IS NULL),
                count(*) FILTER (WHERE recorded_at > now() - interval '1 day'),
                extract(epoch FROM now() - min(recorded_at)
                    FILTER (WHERE forwarded_at IS NULL))::float8
            FROM dead_letters
            """)
        let all = try row.next(Int64.self)
        let waiting = try row.next(Int64.self)
        let today = try row.next(Int64.self)
        let oldest = try row.nextOptional(Double.self) ?? 0
        return [
            Finding(
                "dead letters",
                "\(all), \(today) of them in the last day; \(waiting) wait to be forwarded"
                    + (waiting > 0 ? ", the oldest for \(timeText(oldest))" : ""),
                oldest, limits.letterSeconds,
                advice: "aggregators forward them to NATS: see whether one runs, and its log")
        ]
    }

    /// Ranges of the stream that are gone; each is a loss, or the loss of the proof that there was none.
    func losses() throws -> [Finding] {
        var row = try row(
            """
            SELECT count(*), count(*) FILTER (WHERE detected_at > now() - interval '1 day'),
                count(*) FILTER (WHERE detected_at > now() - interval '\(limits.lossDays) days'),
                max(detected_at)::text
            FROM lost_ranges
            """)
        let all = try row.next(Int64.self)
        let today = try row.next(Int64.self)
        let recent = try row.next(Int64.self)
        guard let last = try row.nextOptional(String.self) else {
            return [Finding(.ok, "losses", "no range of a stream was ever lost")]
        }
        let level: Finding.Level = today > 0 ? .critical : recent > 0 ? .warning : .ok
        return [
            Finding(
                level, "losses", "\(all) ranges of the streams were lost, the last at \(last)",
                advice: "qoectl partitions --lost lists them with reasons")
        ]
    }
}
