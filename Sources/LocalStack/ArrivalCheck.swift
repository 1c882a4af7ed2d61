internal import Postgres

/// Whether everything that the probes of a stack measured has arrived in SQL.
struct ArrivalCheck {
    /// What is missing, one line each; empty when nothing is.
    private(set) var missing: [String] = []

    private static let query = """
        SELECT client_id, events, (SELECT count(*) FROM probe_gaps g
               WHERE g.client_id = s.client_id AND g.session_id = s.session_id)
        FROM probe_sessions s
        WHERE client_id = ANY ($1) AND last_ts >= $2
        """

    /// - Parameter start: When the stack was started; earlier sessions are of earlier runs.
    init(
        clients: [String], since start: PostgresTimestamp, on connection: PostgresConnection
    ) throws(PostgresError) {
        var parameters = PostgresParameters()
        parameters.append(array: clients)
        parameters.append(start)
        var counted: [String: Int64] = [:]
        for row in try connection.query(Self.query, parameters).rows {
            var row = row
            let client = try row.next(String.self)
            counted[client, default: 0] += try row.next(Int64.self)
            let gaps = try row.next(Int64.self)
            if gaps > 0 { missing.append("\(client): \(gaps) ranges of its events are missing") }
        }
        for client in clients where counted[client, default: 0] == 0 {
            missing.append("\(client): no event has arrived")
        }
    }
}
