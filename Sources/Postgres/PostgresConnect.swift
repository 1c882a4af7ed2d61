internal import CLibPQ

/// Opens a session with the first host of `address` that accepts one of the wanted kind.
func connect(
    to address: PostgresConnectionString, interrupt: PostgresInterrupt?
) throws(PostgresError) -> OpaquePointer {
    var failures: [String] = []
    let password = try address.password()
    for var attempt in address.attempts {
        attempt["password"] = password
        do {
            return try unsafe connect(
                attempt, until: .now + address.connectTimeout, interrupt: interrupt)
        } catch {
            if error.code == .interrupted { throw error }
            failures.append(error.message)
        }
    }
    throw PostgresError(.connectFailed, failures.joined(separator: "; "))
}

/// Opens a session with the one host that `parameters` name.
private func connect(
    _ parameters: [String: String], until deadline: ContinuousClock.Instant,
    interrupt: PostgresInterrupt?
) throws(PostgresError) -> OpaquePointer {
    let sorted = parameters.sorted { $0.key < $1.key }
    let started = unsafe withCStrings(sorted.map(\.key)) { keywords in
        unsafe withCStrings(sorted.map(\.value)) { values in
            unsafe PQconnectStartParams(keywords, values, 0)
        }
    }
    guard let connection = unsafe started else {
        throw PostgresError(.connectFailed, "out of memory")
    }
    do {
        try unsafe finishConnecting(connection, until: deadline, interrupt: interrupt)
    } catch {
        let host = parameters["host"] ?? parameters["hostaddr"] ?? "the default host"
        unsafe PQfinish(connection)
        switch error.code {
        case .timedOut:
            throw PostgresError(.connectFailed, "\(host) did not answer in time")
        default: throw error
        }
    }
    // Notices of migrations ("already exists, skipping") belong to nobody's standard error.
    _ = unsafe PQsetNoticeReceiver(connection, { _, _ in }, nil)
    return unsafe connection
}

private func finishConnecting(
    _ connection: OpaquePointer, until deadline: ContinuousClock.Instant,
    interrupt: PostgresInterrupt?
) throws(PostgresError) {
    // The manual has the caller start as if PQconnectPoll had asked to write.
    var interest = SocketInterest.write
    while unsafe PQstatus(connection) != CONNECTION_BAD {
        _ = try waitForSocket(
            unsafe PQsocket(connection), interest, until: deadline, interrupt: interrupt)
        switch unsafe PQconnectPoll(connection) {
        case PGRES_POLLING_READING: interest = .read
        case PGRES_POLLING_WRITING: interest = .write
        case PGRES_POLLING_OK:
            if unsafe PQsetnonblocking(connection, 1) == 0 { return }
            throw unsafe connectFailure(connection)
        default: throw unsafe connectFailure(connection)
        }
    }
    throw unsafe connectFailure(connection)
}

private func connectFailure(_ connection: OpaquePointer) -> PostgresError {
    unsafe PostgresError(.connectFailed, String(cString: PQerrorMessage(connection)).trimmedLine)
}

/// Calls `body` with a null-terminated array of C strings.
private func withCStrings<Result>(
    _ strings: [String], _ body: ([UnsafePointer<CChar>?]) -> Result
) -> Result {
    let bytes = strings.flatMap { Array($0.utf8CString) }
    return unsafe bytes.withUnsafeBufferPointer { buffer in
        var pointers: [UnsafePointer<CChar>?] = unsafe []
        var offset = 0
        for string in strings {
            unsafe pointers.append(buffer.baseAddress.map { unsafe $0 + offset })
            offset += string.utf8.count + 1
        }
        unsafe pointers.append(nil)
        return unsafe body(pointers)
    }
}
