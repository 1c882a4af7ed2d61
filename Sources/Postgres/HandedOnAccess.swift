internal import CLibPQ

extension PostgresConnectionString {
    /// What one of PostgreSQL's own programs needs to talk to the server behind `connection`.
    ///
    /// - Returns: a connection string without secrets, for its command line, and the password for its
    ///   environment, which only the same account and root can read.
    /// - Throws: `.invalidConnectionString` for a `sslpassword`, for which there is no way but the command line;
    ///   `.connectFailed` when the password file cannot be read.
    package func access(
        sameServerAs connection: PostgresConnection
    ) throws(PostgresError) -> (arguments: String, environment: [String: String]) {
        guard parameters["sslpassword"] == nil else {
            throw PostgresError(
                .invalidConnectionString,
                "sslpassword cannot be handed on; use a key without a password for this")
        }
        var own = parameters
        // The host that was found, whatever else the string names; the programs know no prefer-standby either.
        for keyword in ["password", "client_encoding", "target_session_attrs", "host", "hostaddr"] {
            own[keyword] = nil
        }
        own.merge(connection.serverParameters) { $1 }
        let text = own.sorted { $0.key < $1.key }.map { keyword, value in
            let escaped = value.replacing("\\", with: "\\\\").replacing("'", with: "\\'")
            return "\(keyword)='\(escaped)'"
        }
        let password = try password()
        return (text.joined(separator: " "), password.map { ["PGPASSWORD": $0] } ?? [:])
    }
}

extension PostgresConnection {
    /// The server of the session as connection parameters; empty when closed.
    fileprivate var serverParameters: [String: String] {
        guard let open = try? unsafe usable() else { return [:] }
        var found: [String: String] = [:]
        if let host = unsafe PQhost(open) { found["host"] = unsafe String(cString: host) }
        if let port = unsafe PQport(open) { found["port"] = unsafe String(cString: port) }
        if let address = unsafe PQhostaddr(open), found["host"]?.hasPrefix("/") == false {
            found["hostaddr"] = unsafe String(cString: address)
        }
        return found.filter { !$0.value.isEmpty }
    }
}
