import Foundation
import Glibc
import Postgres
import PrivateServers
import Store
import Synchronization
import TestKit

/// A primary and a streaming replica, which can change their roles any number of times; clients come through two
/// links that can fail.
final class PostgresPair: Sendable {
    struct Nodes: Sendable {
        var primary: PostgresServer
        var replica: PostgresServer?
        /// By the folder of the server on it.
        var volumes: [String: Volume] = [:]
    }

    private let folder: String
    private let nodes: Mutex<Nodes>
    /// How many clusters were made, which names their folders.
    private let count = Mutex(1)
    /// In the order in which clients try them.
    let links: [TCPProxy]
    private let isSmall: Bool
    /// An empty cluster takes 40 MB, and its log at least as much.
    private static let volumeMebibytes = 400

    /// - Parameters:
    ///   - hasReplica: Copying costs a second.
    ///   - isSmall: Puts each server on a volume that can be filled.
    init(folder: String, hasReplica: Bool, isSmall: Bool) throws {
        self.folder = folder
        self.isSmall = isSmall
        let first = "\(folder)/postgres-1"
        let volume = isSmall ? Volume(path: first, mebibytes: Self.volumeMebibytes) : nil
        let primary = try PostgresServer(Self.settings(first))
        let connection = try PostgresConnection(to: PostgresConnectionString(primary.url))
        _ = try Schema().migrate(connection)
        connection.close()
        nodes = Mutex(Nodes(primary: primary, volumes: volume.map { [first: $0] } ?? [:]))
        let sparePort = try freeLoopbackPort()
        links = [try TCPProxy(to: primary.port), try TCPProxy(to: sparePort)]
        if hasReplica { try makeReplica(port: sparePort) }
    }

    private static func settings(_ folder: String) -> PostgresServer.Settings {
        var settings = PostgresServer.Settings(dataFolder: folder)
        settings.isDurable = false
        settings.parameters = ["min_wal_size": "32MB", "max_wal_size": "64MB"]
        return settings
    }

    var primary: PostgresServer { nodes.withLock { $0.primary } }
    var replica: PostgresServer? { nodes.withLock { $0.replica } }
    /// What the primary's data is on.
    var volume: Volume? { nodes.withLock { $0.volumes[$0.primary.settings.dataFolder] } }

    /// What clients use: both links, of which the one to a server that takes writes is wanted.
    var url: String {
        let hosts = links.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
        return "postgresql://qoe@\(hosts)/telemetry?target_session_attrs=read-write"
    }

    /// Kills the primary and has the replica take over, on a new timeline.
    ///
    /// - Parameter losing: How long the replica has been cut off before; nil when it has everything.
    /// - Returns: The old primary, not running.
    func failOver(losing: Duration?) throws -> PostgresServer {
        guard let replica else { preconditionFailure("a pair with a replica") }
        let old = primary
        if let losing {
            try replica.stopFollowing()
            usleep(UInt32(losing / .microseconds(1)))
        } else {
            try old.awaitReplay(by: replica)
        }
        try old.kill()
        try replica.promote()
        nodes.withLock { nodes in
            nodes.primary = replica
            nodes.replica = nil
        }
        return old
    }

    /// Starts an old primary beside the new one, where clients look first.
    func bringBack(_ old: PostgresServer) throws {
        links[0].retarget(to: old.port)
        links[1].retarget(to: primary.port)
        try old.restart()
    }

    /// Makes a new replica in place of an old primary, which ends.
    func replace(_ old: PostgresServer) throws {
        try old.kill()
        let gone = old.settings.dataFolder
        let port = old.port
        nodes.withLock { $0.volumes.removeValue(forKey: gone) }?.unmount()
        try? FileManager.default.removeItem(atPath: gone)
        try makeReplica(port: port)
    }

    private func makeReplica(port: Int) throws {
        let number = count.withLock { count in
            count += 1
            return count
        }
        var settings = Self.settings("\(folder)/postgres-\(number)")
        settings.port = port
        settings.primaryURL = primary.superuserURL()
        let folder = settings.dataFolder
        if isSmall, let volume = Volume(path: folder, mebibytes: Self.volumeMebibytes) {
            nodes.withLock { $0.volumes[folder] = volume }
        }
        let replica = try PostgresServer(settings)
        nodes.withLock { $0.replica = replica }
    }

    /// A query's key and its array of texts, asked of the primary itself.
    func table(_ sql: String) throws -> [String: [String]] {
        try Self.table(sql, on: primary)
    }

    static func table(_ sql: String, on server: PostgresServer) throws -> [String: [String]] {
        let connection = try PostgresConnection(to: PostgresConnectionString(server.url))
        defer { connection.close() }
        var table: [String: [String]] = [:]
        for var row in try connection.query(sql).rows {
            let key: String = try row.next()
            table[key] = try row.nextArray(of: String.self)
        }
        return table
    }

    func stop() {
        for link in links { link.stop() }
        let nodes = nodes.withLock { $0 }
        try? nodes.primary.kill()
        try? nodes.replica?.kill()
        for volume in nodes.volumes.values { volume.unmount() }
    }
}
