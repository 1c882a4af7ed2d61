package import Postgres

/// A look at everything in a database that an operator should know of before users do.
///
/// Changes nothing, and needs no more than the right to connect: what a role may not see is said. With
/// `pg_monitor` it sees all.
package struct DatabaseCheck {
    let database: PostgresConnection
    let limits: CheckLimits
    /// Whether the server is a replica, on which some things cannot be seen.
    let isReplica: Bool
    /// Whether the role sees other sessions, replication and settings (`pg_read_all_stats`).
    let seesStatistics: Bool
    /// Who asks, as SQL writes the name.
    private let role: String

    /// Prepares the session of `database`. Blocks.
    package init(
        _ database: PostgresConnection, limits: CheckLimits = CheckLimits()
    ) throws(PostgresError) {
        self.database = database
        self.limits = limits
        try database.execute(
            """
            SET default_transaction_read_only = on;
            SET statement_timeout = '\(Self.statementLimitSeconds)s';
            SET lock_timeout = '2s';
            SET timezone = 'UTC';
            """)
        let result = try database.query(
            """
            SELECT pg_is_in_recovery(), pg_has_role('pg_read_all_stats', 'USAGE'),
                quote_ident(current_user)
            """)
        guard var row = result.first else {
            throw PostgresError(.unexpectedResult, "a row was expected")
        }
        isReplica = try row.next()
        seesStatistics = try row.next()
        role = try row.next()
    }

    /// Sizes of many partitions take a moment.
    private static let statementLimitSeconds = 20

    private struct Part: Sendable {
        let subject: String
        let look: @Sendable (DatabaseCheck) throws -> [Finding]
    }

    /// Without our tables the others would only say so again.
    private static let ofServer = [
        Part(subject: "server") { try $0.server() },
        Part(subject: "settings") { try $0.settings() },
        Part(subject: "replication") { try $0.replication() },
        Part(subject: "replication slots") { try $0.slots() },
        Part(subject: "archive") { try $0.archive() },
        Part(subject: "connections") { try $0.connections() },
        Part(subject: "transactions") { try $0.transactions() },
        Part(subject: "vacuum horizon") { try $0.horizon() },
        Part(subject: "transaction ids") { try $0.transactionIDs() },
        Part(subject: "dead rows") { try $0.deadRows() },
        Part(subject: "indexes") { try $0.indexes() },
        Part(subject: "size") { try $0.size() },
        Part(subject: "disk") { try $0.disk() },
    ]
    private static let ofTables = [
        Part(subject: "partitions") { try $0.partitions() },
        Part(subject: "detached partitions") { try $0.pendingDetaches() },
        Part(subject: "retention") { try $0.retention() },
        Part(subject: "rollups") { try $0.rollups() },
        Part(subject: "freshness") { try $0.freshness() },
        Part(subject: "dead letters") { try $0.deadLetters() },
        Part(subject: "losses") { try $0.losses() },
    ]

    /// Looks at everything. Blocks.
    ///
    /// - Throws: ``PostgresError`` when the connection is lost; what fails alone is a finding.
    package func run() throws -> [Finding] {
        let schema = try schema()
        var findings = [schema]
        for part in Self.ofServer { findings += try look(part) }
        if schema.level != .critical {
            for part in Self.ofTables { findings += try look(part) }
        }
        return findings
    }

    private func look(_ part: Part) throws -> [Finding] {
        do {
            return try part.look(self)
        } catch let error as PostgresError {
            switch error.sqlState {
            case .insufficientPrivilege?: return [cannotSee(part.subject)]
            case .undefinedTable?:
                return [Finding(.unseen, part.subject, "this schema does not have it yet")]
            case .queryCanceled?, .lockNotAvailable?:
                return [
                    Finding(
                        .warning, part.subject,
                        "the server did not answer in time: \(error.message)",
                        advice: "look again; if it stays, see what the server is busy with")
                ]
            case let state? where !error.needsNewConnection:
                return [
                    Finding(.unseen, part.subject, "PostgreSQL error \(state): \(error.message)")
                ]
            default: throw error
            }
        }
    }

    func cannotSee(_ subject: String) -> Finding {
        Finding(
            .unseen, subject, "cannot see: needs pg_monitor",
            advice: "as a superuser: GRANT pg_monitor TO \(role)")
    }

    /// The rows of a query.
    func rows(_ sql: String) throws(PostgresError) -> some Sequence<PostgresRow> {
        try database.query(sql).rows
    }

    /// The only row of a query that always has one.
    func row(_ sql: String) throws(PostgresError) -> PostgresRow {
        guard let row = try database.query(sql).first else {
            throw PostgresError(.unexpectedResult, "a row was expected")
        }
        return row
    }
}

/// `bytes` in the unit that fits.
package func byteText(_ bytes: Int64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"]
    var value = Double(bytes)
    var unit = 0
    while abs(value) >= 1024, unit < units.count - 1 {
        value /= 1024
        unit += 1
    }
    return unit == 0 ? "\(bytes) B" : "\(oneDecimal(value)) \(units[unit])"
}

/// `seconds` in the unit that fits.
func timeText(_ seconds: Double) -> String {
    switch abs(seconds) {
    case ..<120: "\(oneDecimal(seconds)) s"
    case ..<7_200: "\(oneDecimal(seconds / 60)) min"
    case ..<172_800: "\(oneDecimal(seconds / 3_600)) h"
    default: "\(oneDecimal(seconds / 86_400)) days"
    }
}

/// `share` in percent.
func percentText(_ share: Double) -> String { "\(oneDecimal(share * 100)) %" }

extension Int64 {
    /// `value` rounded, at the nearest end where it does not fit.
    init(clamping value: Double) {
        // The first double beyond is 2^63.
        self = value.isNaN ? 0 : value >= 0x1p63 ? .max : value <= -0x1p63 ? .min : Int64(value)
    }
}
