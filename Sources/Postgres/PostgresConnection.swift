internal import CLibPQ
internal import Failpoints

/// One session of a PostgreSQL server.
///
/// Blocking: use it from one owned thread at a time, never from Swift's cooperative pool; it is
/// not Sendable, so that the compiler sees to it. A wait ends after ``timeout``, or at once when
/// the interrupt it was opened with is triggered; both close the connection, since an answer may
/// still be on its way. A closed connection fails every call with `.connectionLost`: make a new
/// one.
@safe package final class PostgresConnection {
    /// Nil once closed.
    private var pointer: OpaquePointer?
    private let interrupt: PostgresInterrupt?
    /// The named statements this session knows, with their parameter types.
    private var prepared: [String: [PostgresTypeID]] = [:]

    /// How long one call may wait for the server.
    package var timeout: Duration

    /// Opens a session with the first host that accepts one of the wanted kind.
    ///
    /// Name resolution happens inside libc and is the one wait that `interrupt` cannot end.
    ///
    /// - Parameter timeout: the first value of ``timeout``; does not bound connecting, which
    ///   `connect_timeout` does per host.
    /// - Throws: `.connectFailed` with a message per host; `.interrupted`.
    package init(
        to address: PostgresConnectionString, timeout: Duration = .seconds(30),
        interrupt: PostgresInterrupt? = nil
    ) throws(PostgresError) {
        self.timeout = timeout
        self.interrupt = interrupt
        unsafe pointer = try unsafe connect(to: address, interrupt: interrupt)
        failpoint(.transactionConnected)
    }

    deinit {
        close()
    }

    /// Ends the session. Later calls fail with `.connectionLost`.
    package func close() {
        if let open = unsafe pointer {
            unsafe PQfinish(open)
            unsafe pointer = nil
            prepared = [:]
        }
    }

    /// Whether the session was alive when last used.
    package var isOpen: Bool {
        unsafe pointer != nil
    }

    /// The server's process for this session, as in `pg_stat_activity.pid`; nil when closed.
    package var backendPID: Int32? {
        unsafe pointer.map { unsafe PQbackendPID($0) }
    }

    /// The server's version as libpq counts it, such as 150020; nil when closed.
    package var serverVersion: Int? {
        unsafe pointer.map { unsafe Int(PQserverVersion($0)) }
    }

    /// The host and port of the session; a socket's folder is a host too. Nil when closed.
    package var host: String? {
        guard let open = unsafe pointer, let host = unsafe PQhost(open),
            let port = unsafe PQport(open)
        else { return nil }
        return unsafe String(cString: host) + ":" + String(cString: port)
    }

    /// Runs any number of statements without parameters, such as a migration, as one transaction
    /// unless the text says otherwise. Rows are thrown away.
    package func execute(_ sql: String) throws(PostgresError) {
        let open = try unsafe usable()
        guard unsafe PQsendQuery(open, sql) == 1 else {
            throw unsafe broken(open, statement: nil)
        }
        let deadline = ContinuousClock.now + timeout
        var failure: PostgresError?
        while let result = try unsafe nextResult(open, deadline) {
            failure = unsafe failure ?? Self.error(in: result, statement: nil)
            let copying = unsafe Self.isCopy(result)
            unsafe PQclear(result)
            if copying {
                close()
                throw PostgresError(.unexpectedResult, "COPY is not supported")
            }
        }
        if let failure { throw unsafe afterFailure(open, failure) }
    }

    /// Runs one statement and returns its rows.
    package func query(
        _ statement: PostgresStatement, _ parameters: PostgresParameters = PostgresParameters()
    ) throws(PostgresError) -> PostgresResult {
        var pipeline = PostgresPipeline()
        pipeline.append(statement, parameters)
        let results = try run(pipeline)
        return results[0]
    }

    /// Runs one unnamed statement and returns its rows.
    package func query(
        _ sql: String, _ parameters: PostgresParameters = PostgresParameters()
    ) throws(PostgresError) -> PostgresResult {
        try query(PostgresStatement(nil, sql), parameters)
    }

    /// Runs `body` between BEGIN and COMMIT; rolls back when it throws.
    ///
    /// - Throws: what `body` throws; `.commitOutcomeUnknown` when the answer to COMMIT got lost.
    package func transaction<Value>(
        _ body: () throws(PostgresError) -> Value
    ) throws(PostgresError) -> Value {
        _ = try run(PostgresPipeline(PostgresStatement.begin))
        let value: Value
        do {
            value = try body()
        } catch {
            rollBack()
            throw error
        }
        _ = try run(PostgresPipeline(PostgresStatement.commit), commitStep: 0)
        return value
    }

    /// Runs the statements in one round trip as one transaction, BEGIN and COMMIT included.
    ///
    /// - Returns: one result per statement of `pipeline`.
    /// - Throws: the first failing statement's error, with nothing committed;
    ///   `.commitOutcomeUnknown` when the connection broke before COMMIT's answer came.
    package func runTransaction(
        _ pipeline: PostgresPipeline
    ) throws(PostgresError) -> [PostgresResult] {
        var whole = PostgresPipeline(PostgresStatement.begin)
        whole.append(pipeline)
        whole.append(PostgresStatement.commit)
        do {
            let results = try run(whole, commitStep: whole.steps.count - 1)
            return Array(results.dropFirst().dropLast())
        } catch {
            rollBack()
            throw error
        }
    }

    /// Runs the statements in one round trip.
    ///
    /// Outside a transaction the server treats them as one, up to the first that fails.
    ///
    /// - Returns: one result per statement.
    /// - Throws: the first failing statement's error; the statements after it were skipped.
    package func run(_ pipeline: PostgresPipeline) throws(PostgresError) -> [PostgresResult] {
        try run(pipeline, commitStep: nil)
    }

    /// Ends a failed transaction, so that the session can be used again; closes it if it cannot.
    private func rollBack() {
        guard let open = unsafe pointer else { return }
        switch unsafe PQtransactionStatus(open) {
        case PQTRANS_IDLE: return
        case PQTRANS_INTRANS, PQTRANS_INERROR:
            do { try execute("ROLLBACK") } catch { close() }
        default: close()
        }
    }
}

extension PostgresStatement {
    static let begin = PostgresStatement("begin", "BEGIN")
    static let commit = PostgresStatement("commit", "COMMIT")
}

extension PostgresPipeline {
    fileprivate init(_ statement: PostgresStatement) {
        self.init()
        append(statement)
    }
}

// MARK: - Pipelines

extension PostgresConnection {
    /// What the server will answer, in order.
    private enum Answer {
        case prepared(name: String, types: [PostgresTypeID], step: Int)
        case result(step: Int)
        case sync
    }

    /// - Parameter commitStep: the step that commits, from which on a broken connection leaves
    ///   the outcome unknown.
    private func run(
        _ pipeline: PostgresPipeline, commitStep: Int?
    ) throws(PostgresError) -> [PostgresResult] {
        let open = try unsafe usable()
        guard unsafe PQenterPipelineMode(open) == 1 else {
            throw unsafe broken(open, statement: nil)
        }
        let answers: [Answer]
        do {
            answers = try unsafe send(pipeline, open, commitStep: commitStep)
        } catch {
            // Some steps may have left, COMMIT among them only if all were queued; they were not.
            close()
            throw error
        }
        var results: [PostgresResult] = []
        var failure: PostgresError?
        let deadline = ContinuousClock.now + timeout
        for answer in answers {
            let (step, name) = Self.place(of: answer, in: pipeline)
            do {
                let received = try unsafe receive(answer, open, deadline, name)
                if let received, failure == nil { results.append(received) }
            } catch {
                if failure == nil {
                    failure = Self.judged(error, step: step, commitStep: commitStep)
                }
                if !isOpen { break }
            }
        }
        if isOpen, unsafe PQexitPipelineMode(open) != 1 {
            close()
        }
        if let failure {
            throw isOpen ? unsafe afterFailure(open, failure) : failure
        }
        if let commitStep, results[commitStep].commandTag != "COMMIT" {
            // COMMIT of a failed transaction succeeds, as a rollback.
            throw PostgresError(.unexpectedResult, "COMMIT was answered by a rollback")
        }
        return results
    }

    /// The step an answer belongs to; what follows the last step counts as it.
    private static func place(
        of answer: Answer, in pipeline: PostgresPipeline
    ) -> (step: Int, name: String?) {
        switch answer {
        case .prepared(let name, _, let step): (step, name)
        case .result(let step): (step, pipeline.steps[step].statement.name)
        case .sync: (pipeline.steps.count, nil)
        }
    }

    /// What a failure at `step` means when `commitStep` was sent along.
    ///
    /// The server answers in order. A refusal of a step before COMMIT means that COMMIT was
    /// skipped. Silence from any step on means that everything, COMMIT included, may have been
    /// done; and a session ended by the server while it worked on COMMIT may have done it as well.
    private static func judged(
        _ error: PostgresError, step: Int, commitStep: Int?
    ) -> PostgresError {
        guard let commitStep else { return error }
        let unknown =
            switch error.code {
            case .server(let state): step >= commitStep && state.endsSession
            case .connectionLost, .timedOut, .interrupted: step <= commitStep
            default: false
            }
        guard unknown else { return error }
        return PostgresError(
            .commitOutcomeUnknown, error.message.isEmpty ? error.description : error.message,
            statement: error.statement)
    }

    /// Queues all steps and a sync; libpq copies them and sends what the socket takes.
    ///
    /// After a large step it waits until all of it has left, or libpq would gather all steps.
    private func send(
        _ pipeline: PostgresPipeline, _ open: OpaquePointer, commitStep: Int?
    ) throws(PostgresError) -> [Answer] {
        let deadline = ContinuousClock.now + timeout
        var answers: [Answer] = []
        var preparing: [String: [PostgresTypeID]] = [:]
        for (index, step) in pipeline.steps.enumerated() {
            if index == commitStep {
                failpoint(.transactionBeforeCommit) { flushBeforeDying() }
            }
            let name = step.statement.name
            let parameters = step.makeParameters()
            if let name {
                let types = parameters.typeIDs
                if let known = prepared[name] ?? preparing[name] {
                    precondition(known == types, "\(name) was prepared with other types")
                } else {
                    let sent = unsafe PQsendPrepare(
                        open, name, step.statement.sql, Int32(types.count), types.map(\.rawValue))
                    guard sent == 1 else { throw unsafe broken(open, statement: name) }
                    preparing[name] = types
                    answers.append(.prepared(name: name, types: types, step: index))
                }
            }
            guard try unsafe send(step.statement, parameters, open) else {
                throw unsafe broken(open, statement: name)
            }
            answers.append(.result(step: index))
            if index == 1, commitStep != nil {
                failpoint(.transactionBegun) { flushBeforeDying() }
            }
            if parameters.bytes.count > Self.largeByteCount {
                try unsafe sendQueued(open, deadline)
            }
        }
        guard unsafe PQpipelineSync(open) == 1 else {
            throw unsafe broken(open, statement: nil)
        }
        if commitStep != nil {
            failpoint(.transactionCommitSent) { flushBeforeDying() }
        }
        return answers + [.sync]
    }

    /// Parameters of more bytes are waited for.
    private static var largeByteCount: Int { 64 << 10 }

    /// Waits until the socket has taken what is queued.
    private func sendQueued(
        _ open: OpaquePointer, _ deadline: ContinuousClock.Instant
    ) throws(PostgresError) {
        while unsafe PQflush(open) == 1 {
            let ready = try waitForSocket(
                unsafe PQsocket(open), [.read, .write], until: deadline, interrupt: interrupt)
            // A server whose answers are not read takes no more questions.
            if ready.contains(.read), unsafe PQconsumeInput(open) == 0 {
                throw unsafe broken(open, statement: nil)
            }
        }
    }

    private func send(
        _ statement: PostgresStatement, _ parameters: PostgresParameters, _ open: OpaquePointer
    ) throws(PostgresError) -> Bool {
        guard parameters.bytes.count <= PostgresParameters.largestByteCount else {
            throw PostgresError(
                .unexpectedResult,
                "parameters of \(parameters.bytes.count) bytes exceed the server's message limit",
                statement: statement.name)
        }
        let lengths = parameters.slots.map { Int32(clamping: $0.count ?? 0) }
        let formats = [Int32](repeating: 1, count: lengths.count)
        let sent = unsafe parameters.bytes.withUnsafeBufferPointer { bytes in
            let values = unsafe parameters.slots.map { slot -> UnsafePointer<CChar>? in
                guard slot.count != nil, let base = bytes.baseAddress else { return nil }
                return unsafe UnsafeRawPointer(base + min(slot.offset, bytes.count - 1))
                    .assumingMemoryBound(to: CChar.self)
            }
            if let name = statement.name {
                return unsafe PQsendQueryPrepared(
                    open, name, Int32(lengths.count), values, lengths, formats, 1)
            }
            return unsafe PQsendQueryParams(
                open, statement.sql, Int32(lengths.count),
                parameters.typeIDs.map(\.rawValue), values, lengths, formats, 1)
        }
        return sent == 1
    }

    /// Hands everything queued to the kernel, so that a process that is killed now has sent it.
    private func flushBeforeDying() {
        guard let open = unsafe pointer else { return }
        let deadline = ContinuousClock.now + timeout
        while unsafe PQflush(open) == 1 {
            let ready = try? waitForSocket(
                unsafe PQsocket(open), .write, until: deadline, interrupt: interrupt)
            guard ready != nil else { return }
        }
    }

    /// Reads one answer; returns the rows when it is a statement's.
    private func receive(
        _ answer: Answer, _ open: OpaquePointer, _ deadline: ContinuousClock.Instant,
        _ name: String?
    ) throws(PostgresError) -> PostgresResult? {
        guard let result = try unsafe nextResult(open, deadline) else {
            throw unsafe broken(open, statement: name)
        }
        if case .sync = answer {
            defer { unsafe PQclear(result) }
            if unsafe PQresultStatus(result) == PGRES_PIPELINE_SYNC { return nil }
            if let failure = unsafe Self.error(in: result, statement: nil) { throw failure }
            throw unsafe broken(open, statement: nil)
        }
        let failure = unsafe Self.error(in: result, statement: name)
        // Every statement's result is followed by a null.
        if let extra = try unsafe nextResult(open, deadline) {
            unsafe PQclear(extra)
        }
        if let failure {
            unsafe PQclear(result)
            if failure.code == .connectionLost { close() }
            throw failure
        }
        switch answer {
        case .prepared(let name, let types, _):
            unsafe PQclear(result)
            prepared[name] = types
            return nil
        case .result:
            return unsafe PostgresResult(adopting: result, statement: name)
        case .sync:
            return nil
        }
    }
}

// MARK: - Waiting and failing

extension PostgresConnection {
    func usable() throws(PostgresError) -> OpaquePointer {
        guard let open = unsafe pointer else {
            throw PostgresError(.connectionLost, "the connection is closed")
        }
        return unsafe open
    }

    /// The next result, or nil at the end of a statement's results. The caller clears it.
    func nextResult(
        _ open: OpaquePointer, _ deadline: ContinuousClock.Instant
    ) throws(PostgresError) -> OpaquePointer? {
        while true {
            let unsent = unsafe PQflush(open) == 1
            if unsafe PQisBusy(open) == 0 { return unsafe PQgetResult(open) }
            let ready: SocketInterest
            do {
                ready = try waitForSocket(
                    unsafe PQsocket(open), unsent ? [.read, .write] : .read, until: deadline,
                    interrupt: interrupt)
            } catch {
                close()
                throw error
            }
            if ready.contains(.read), unsafe PQconsumeInput(open) == 0 {
                // What the server said last may still be in the buffer.
                if unsafe PQisBusy(open) == 0, let last = unsafe PQgetResult(open) {
                    return unsafe last
                }
                throw unsafe broken(open, statement: nil)
            }
        }
    }

    /// The error of a result that is one.
    static func error(in result: OpaquePointer, statement: String?) -> PostgresError? {
        switch unsafe PQresultStatus(result) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY, PGRES_PIPELINE_SYNC: return nil
        case PGRES_PIPELINE_ABORTED:
            // Never the first failure of a pipeline, so nobody sees it.
            return PostgresError(.unexpectedResult, "skipped after an error", statement: statement)
        default: break
        }
        func field(_ code: Int32) -> String? {
            unsafe PQresultErrorField(result, code).map { unsafe String(cString: $0) }
        }
        guard let state = field(sqlStateField) else {
            let message = unsafe String(cString: PQresultErrorMessage(result)).trimmedLine
            return PostgresError(.connectionLost, message, statement: statement)
        }
        return PostgresError(
            .server(SQLState(rawValue: state)), field(primaryMessageField) ?? "",
            detail: field(detailField), statement: statement)
    }

    /// libpq would go on returning such a result until the copy is done.
    static func isCopy(_ result: OpaquePointer) -> Bool {
        let status = unsafe PQresultStatus(result)
        return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH
    }

    // PG_DIAG_* of postgres_ext.h are character macros, which Swift does not import.
    private static let sqlStateField = Int32(UInt8(ascii: "C"))
    private static let primaryMessageField = Int32(UInt8(ascii: "M"))
    private static let detailField = Int32(UInt8(ascii: "D"))

    /// Closes the connection and says what libpq knows of its end.
    func broken(_ open: OpaquePointer, statement: String?) -> PostgresError {
        let message = unsafe String(cString: PQerrorMessage(open)).trimmedLine
        close()
        return PostgresError(.connectionLost, message, statement: statement)
    }

    /// Closes the connection if libpq found it dead behind `failure`.
    func afterFailure(_ open: OpaquePointer, _ failure: PostgresError) -> PostgresError {
        if unsafe PQstatus(open) == CONNECTION_BAD { close() }
        return failure
    }
}
