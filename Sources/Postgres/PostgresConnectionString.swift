internal import CLibPQ
internal import PasswordFiles

/// A parsed libpq URI or keyword string, with our defaults for what it leaves out.
///
/// The defaults make a dead peer known within 15 seconds: `connect_timeout` 5 s per host,
/// `tcp_user_timeout` 10 s, keepalives after 5 s every 2 s. What the string says itself wins.
/// Reference: PostgreSQL manual, "Database Connection Control Functions".
package struct PostgresConnectionString: Sendable, CustomStringConvertible {
    /// Keyword and value pairs as libpq knows them, without empty ones.
    private(set) var parameters: [String: String]
    /// Read for each connection.
    private let passwordFile: PasswordFile?

    /// Parses `text`.
    ///
    /// - Parameters:
    ///   - applicationName: shown in `pg_stat_activity` unless the string names one.
    ///   - passwordFile: a file that holds the password alone; read anew for each connection.
    /// - Throws: `.invalidConnectionString`, also when there are two passwords; the message quotes nothing of
    ///   `text`.
    package init(
        _ text: String, applicationName: String = "qoe", passwordFile: String? = nil
    ) throws(PostgresError) {
        var parsed = try Self.parse(text)
        self.passwordFile = passwordFile.map { PasswordFile(path: $0) }
        guard passwordFile == nil || parsed["password"] == nil else {
            throw PostgresError(
                .invalidConnectionString,
                "it holds a password, and a password file is named as well: leave one out")
        }
        for (keyword, value) in Self.defaults where parsed[keyword] == nil {
            parsed[keyword] = value
        }
        if parsed["application_name"] == nil {
            parsed["application_name"] = applicationName
        }
        // Values travel as UTF-8 whatever PGCLIENTENCODING says.
        parsed["client_encoding"] = "UTF8"
        parameters = parsed
        let hosts = max(items(of: "host").count, items(of: "hostaddr").count)
        for keyword in ["host", "hostaddr", "port"] where parsed[keyword] != nil {
            let count = items(of: keyword).count
            guard count == hosts || (keyword == "port" && count == 1) else {
                throw PostgresError(
                    .invalidConnectionString, "\(count) values of \(keyword) for \(hosts) hosts")
            }
        }
        // libpq would notice only when it connects.
        for port in items(of: "port") where !port.isEmpty {
            guard let number = UInt16(port), number > 0 else {
                throw PostgresError(.invalidConnectionString, "a port is not in 1...65535")
            }
        }
    }

    /// What we set when the string does not.
    private static let defaults = [
        "connect_timeout": "5",
        "keepalives_idle": "5",
        "keepalives_interval": "2",
        "keepalives_count": "3",
        "tcp_user_timeout": "10000",
    ]

    /// The same string for another database of the same servers.
    package func database(_ name: String) -> PostgresConnectionString {
        var copy = self
        copy.parameters["dbname"] = name
        return copy
    }

    /// The database named, if any.
    package var databaseName: String? { parameters["dbname"] }

    /// Whether the string itself holds a password, which whoever sees it can read.
    package var holdsPassword: Bool {
        Self.secretKeywords.contains { parameters[$0] != nil }
    }

    /// How many hosts are named; libpq's default host counts as one.
    package var hostCount: Int { max(items(of: "host").count, items(of: "hostaddr").count) }

    /// Which kind of server is wanted (`target_session_attrs`); nil when the string does not say.
    package var wantedServer: String? { parameters["target_session_attrs"] }

    /// The same string with `kind` of server wanted, such as `prefer-standby`, unless it says so itself.
    package func wanting(unlessNamed kind: String) -> PostgresConnectionString {
        var copy = self
        if copy.parameters["target_session_attrs"] == nil {
            copy.parameters["target_session_attrs"] = kind
        }
        return copy
    }

    /// The password for a new connection as far as it is ours to find; nil leaves it to libpq, which looks into
    /// `PGPASSWORD` and the password file that `passfile`, `PGPASSFILE` or the home folder names.
    ///
    /// - Throws: `.connectFailed` when the password file cannot be used.
    func password() throws(PostgresError) -> String? {
        if let passwordFile {
            do throws(PasswordFile.Problem) {
                return try passwordFile.read()
            } catch {
                throw PostgresError(.connectFailed, error.message)
            }
        }
        return parameters["password"]
    }

    /// How long one host may take to accept a session.
    var connectTimeout: Duration {
        // As in libpq: below 2 is read as 2, and zero or nonsense means no limit of its own.
        guard let seconds = parameters["connect_timeout"].flatMap({ Int64($0) }), seconds > 0
        else { return .seconds(Self.longestConnectSeconds) }
        return .seconds(min(max(seconds, 2), Self.longestConnectSeconds))
    }

    /// The bound when the string switches libpq's own off.
    private static let longestConnectSeconds: Int64 = 60

    /// One set of parameters per attempt, in the order to try them.
    ///
    /// libpq can walk the host list itself, but only a blocking connect moves on from a host that
    /// accepts and never answers; since we wait ourselves, we walk the list ourselves. A
    /// `prefer-standby` list is walked for a standby first and then for any server.
    var attempts: [[String: String]] {
        let hosts = items(of: "host")
        let addresses = items(of: "hostaddr")
        let ports = items(of: "port")
        let single = (0..<max(hosts.count, addresses.count)).map { index in
            var one = parameters
            one["host"] = hosts.indices.contains(index) ? hosts[index] : nil
            one["hostaddr"] = addresses.indices.contains(index) ? addresses[index] : nil
            one["port"] = ports.count == 1 ? ports[0] : ports[index]
            return one.filter { !$0.value.isEmpty }
        }
        guard parameters["target_session_attrs"] == "prefer-standby" else { return single }
        return ["standby", "any"].flatMap { wanted in
            single.map { $0.merging(["target_session_attrs": wanted]) { $1 } }
        }
    }

    private func items(of keyword: String) -> [String] {
        (parameters[keyword] ?? "").split(separator: ",", omittingEmptySubsequences: false)
            .map(String.init)
    }

    /// Keyword form with the password masked.
    package var description: String {
        parameters.sorted { $0.key < $1.key }
            .map { "\($0.key)=\(Self.secretKeywords.contains($0.key) ? "***" : $0.value)" }
            .joined(separator: " ")
    }

    private static let secretKeywords: Set<String> = ["password", "sslpassword"]

    private static func parse(_ text: String) throws(PostgresError) -> [String: String] {
        var message: UnsafeMutablePointer<CChar>?
        guard let options = unsafe PQconninfoParse(text, &message) else {
            let reason = unsafe message.map { unsafe String(cString: $0) } ?? "out of memory"
            unsafe PQfreemem(message)
            throw PostgresError(.invalidConnectionString, withoutQuotations(reason))
        }
        defer { unsafe PQconninfoFree(options) }
        var parsed: [String: String] = [:]
        var option = unsafe options
        while let keyword = unsafe option.pointee.keyword {
            if let value = unsafe option.pointee.val {
                parsed[unsafe String(cString: keyword)] = unsafe String(cString: value)
            }
            unsafe option += 1
        }
        return parsed
    }

    /// libpq quotes parts of the string it cannot parse, and any part may be the password.
    static func withoutQuotations(_ message: String) -> String {
        let parts = message.split(separator: "\"", omittingEmptySubsequences: false)
        guard let first = parts.first, let last = parts.last, parts.count > 2 else {
            return message.trimmedLine
        }
        return (first + "\"***\"" + last).trimmedLine
    }
}

extension String {
    /// libpq's messages end with a line feed and may have several lines.
    var trimmedLine: String {
        split(whereSeparator: \.isNewline)
            .map { $0.drop(while: \.isWhitespace) }.joined(separator: "; ")
    }
}
