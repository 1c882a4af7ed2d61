internal import CLibPQ

/// What a statement returned, in the text that the server writes.
package struct PostgresText: Sendable {
    package struct Column: Equatable, Sendable {
        package let name: String
        package let typeID: PostgresTypeID
    }

    package let columns: [Column]
    /// Each has a value per column; nil is NULL.
    package let rows: [[String?]]
    /// Whether there were more rows than asked for.
    package let isCut: Bool
    /// Such as `SELECT 5`; empty when the rows were cut off.
    package let commandTag: String
}

extension PostgresConnection {
    /// Runs one statement that a person wrote and returns its rows as text.
    ///
    /// The rows are bounded while they come: beyond a limit the statement is cancelled at the server, and the
    /// connection should be closed, since the cancellation may hit a later statement. An interrupt and the end
    /// of ``timeout`` cancel it at the server too, which would work on otherwise.
    ///
    /// - Parameter byteLimit: Of all values together.
    /// - Throws: ``PostgresError`` with ``PostgresError/report`` when the server refused it.
    package func queryText(
        _ sql: String, rowLimit: Int, byteLimit: Int
    ) throws(PostgresError) -> PostgresText {
        let open = try unsafe usable()
        // One statement alone, since the text is not under our control.
        guard unsafe PQsendQueryParams(open, sql, 0, nil, nil, nil, nil, 0) == 1,
            unsafe PQsetSingleRowMode(open) == 1
        else { throw unsafe broken(open, statement: nil) }
        // Made now: it outlives a connection that a failed wait has closed.
        let cancellation = unsafe PQgetCancel(open)
        defer { unsafe PQfreeCancel(cancellation) }
        var answer = TextAnswer(rowLimit: rowLimit, byteLimit: byteLimit)
        let deadline = ContinuousClock.now + timeout
        while true {
            let next: OpaquePointer?
            do {
                unsafe next = try unsafe nextResult(open, deadline)
            } catch {
                switch error.code {
                case .interrupted, .timedOut: unsafe Self.cancel(cancellation)
                default: break
                }
                throw error
            }
            guard let result = unsafe next else { break }
            defer { unsafe PQclear(result) }
            guard unsafe !Self.isCopy(result) else {
                close()
                throw PostgresError(.unexpectedResult, "COPY is not supported")
            }
            if unsafe answer.take(result) { unsafe Self.cancel(cancellation) }
        }
        if let failure = answer.failure { throw unsafe afterFailure(open, failure) }
        return answer.text
    }

    /// Asks the server to give up what it does for the session. Best effort: it may have ended already.
    private static func cancel(_ cancellation: OpaquePointer?) {
        // The manual recommends 256 bytes for the message, which nobody needs.
        var message = [CChar](repeating: 0, count: 256)
        _ = unsafe PQcancel(cancellation, &message, Int32(message.count))
    }

    /// The error of a result that is one, with all that the server said.
    fileprivate static func reportedError(in result: OpaquePointer) -> PostgresError? {
        guard let error = unsafe error(in: result, statement: nil) else { return nil }
        // What libpq says of a lost connection is no answer of the server.
        guard error.sqlState != nil else { return error }
        return PostgresError(
            error.code, error.message, detail: error.detail,
            report: unsafe String(cString: PQresultErrorMessage(result)))
    }
}

/// Rows as they come.
private struct TextAnswer {
    let rowLimit: Int
    let byteLimit: Int
    private var columns: [PostgresText.Column] = []
    private var rows: [[String?]] = []
    private var byteCount = 0
    private var isCut = false
    private var commandTag = ""
    private(set) var failure: PostgresError?

    init(rowLimit: Int, byteLimit: Int) {
        self.rowLimit = rowLimit
        self.byteLimit = byteLimit
    }

    var text: PostgresText {
        PostgresText(columns: columns, rows: rows, isCut: isCut, commandTag: commandTag)
    }

    /// Adds what `result` holds; returns whether enough has come with it.
    mutating func take(_ result: OpaquePointer) -> Bool {
        let isRow = unsafe PQresultStatus(result) == PGRES_SINGLE_TUPLE
        if !isRow, let error = unsafe PostgresConnection.reportedError(in: result) {
            // The end that was asked for is no failure.
            let isOwnEnd = isCut && error.code == .server(.queryCanceled)
            if !isOwnEnd { failure = failure ?? error }
            return false
        }
        if columns.isEmpty {
            let count = unsafe PQnfields(result)
            columns = (0..<count).map { column in
                PostgresText.Column(
                    name: unsafe PQfname(result, column).map { unsafe String(cString: $0) } ?? "",
                    typeID: unsafe PostgresTypeID(rawValue: PQftype(result, column)))
            }
        }
        guard isRow else {
            commandTag = unsafe String(cString: PQcmdStatus(result))
            return false
        }
        guard !isCut else { return false }
        guard rows.count < rowLimit, byteCount < byteLimit else {
            isCut = true
            return true
        }
        rows.append(
            (0..<Int32(clamping: columns.count)).map { column in
                guard unsafe PQgetisnull(result, 0, column) == 0 else { return nil }
                byteCount += unsafe Int(PQgetlength(result, 0, column))
                return unsafe PQgetvalue(result, 0, column).map { unsafe String(cString: $0) }
            })
        return false
    }
}
