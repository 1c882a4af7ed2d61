internal import Glibc

extension PostgresServer {
    /// Who may connect.
    package enum Authentication: Sendable {
        /// Everybody on this machine; for tests.
        case trust
        /// Who knows the password in ``Settings/passwordFile`` (SCRAM-SHA-256), which is made at
        /// the first start and readable by the server's account and root only.
        case password
    }

    /// How a private server is set up.
    package struct Settings: Sendable {
        /// Receives data, socket, log and pid file; made when missing.
        package var dataFolder: String
        /// TCP port on 127.0.0.1; 0 takes a free one and keeps it over restarts.
        package var port = 0
        /// Decided at the first start; later starts on the same data must say the same.
        package var authentication = Authentication.trust
        /// Whether commits survive a crash of the machine. Off is for tests, where it saves the
        /// waits for the disk; a crash of the server alone loses nothing either way.
        package var isDurable = true
        /// The database made at the first start, owned by ``role``.
        package var database = "telemetry"
        /// The account of our programs in the database; not a superuser.
        package var role = "qoe"
        /// Further `postgresql.conf` settings; they win over ours.
        package var parameters: [String: String] = [:]
        /// How long the server may take to accept clients; after a crash it replays its log first.
        package var readyLimit: Duration = .seconds(60)
        /// The superuser's URL of a running server to copy when there is no data yet: this one then starts as
        /// its streaming replica, with a replication slot, and makes no role and no database.
        package var primaryURL: String?
        /// The folder of `postgres` and `initdb`; nil searches `PATH` and Debian's folders.
        package var programFolder: String?

        package init(dataFolder: String) {
            self.dataFolder = dataFolder
        }
    }
}

extension PostgresServer.Settings {
    /// What PostgreSQL calls PGDATA.
    var clusterFolder: String { "\(dataFolder)/data" }
    var logFile: String { "\(dataFolder)/postgres.log" }
    var pidFile: String { "\(dataFolder)/postgres.pid" }
    /// Holds the password of ``PostgresServer/Authentication/password``.
    package var passwordFile: String { "\(dataFolder)/password" }

    /// The folder of the Unix socket; nil when its path does not fit into a socket address
    /// (`unix(7)`: 108 bytes) and only TCP is offered.
    var socketFolder: String? {
        let folder = "\(dataFolder)/socket"
        let longestFolderBytes = 107 - "/.s.PGSQL.65535.lock".utf8.count
        return folder.utf8.count <= longestFolderBytes ? folder : nil
    }

    func check() throws(PrivateServerError) {
        guard (0...Int(UInt16.max)).contains(port) else {
            throw .invalidSetting(name: "PostgreSQL port", reason: "\(port) is not in 0...65535")
        }
        guard dataFolder.hasPrefix("/") else {
            throw .invalidSetting(
                name: "PostgreSQL data folder", reason: "\(dataFolder) is not an absolute path")
        }
        for name in [database, role] {
            let isPlain = name.utf8.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || byte == UInt8(ascii: "_")
            }
            guard isPlain, !name.isEmpty else {
                throw .invalidSetting(
                    name: "PostgreSQL database or role", reason: "\(name) is not of a-z and _ only")
            }
        }
    }

    /// The server's command line (manual, "Server Configuration").
    func arguments(port: Int) -> [String] {
        var values = [
            "listen_addresses": "127.0.0.1",
            "port": "\(port)",
            "unix_socket_directories": socketFolder ?? "",
            "timezone": "UTC",
            "log_timezone": "UTC",
            // To standard error, which is the log file.
            "logging_collector": "off",
        ]
        if !isDurable {
            values["fsync"] = "off"
            values["full_page_writes"] = "off"
        }
        values.merge(parameters) { $1 }
        return ["-D", clusterFolder]
            + values.sorted { $0.key < $1.key }.flatMap { ["-c", "\($0.key)=\($0.value)"] }
    }
}
