import Bus
import Foundation
import NATSClient
import OperatorCore
import OwnedThreads
import PrivateServers
import Telemetry
import TestKit
import Testing

/// What may be done under each user of `deploy/nats`, on a server with that very list of permissions.
@Suite struct NATSAccountsTests {
    @Test func `each program does its work as its own user`() throws {
        try Accounts.run { accounts in
            try accounts.with("ingest") { ingest in
                let jetStream = JetStream(ingest)
                _ = try ensureStreams(settings(), on: jetStream)
                // A larger limit is a change of the stream.
                _ = try ensureStreams(settings(eventsByteCountMax: 2 << 20), on: jetStream)
                for subject in ["telemetry.events.0", "telemetry.events.3"] {
                    try store(to: subject, in: BusStream.events, ingest)
                }
                try store(to: BusSubject.heartbeats, in: BusStream.heartbeats, ingest)
                let inForce = try FleetOrders(ingest).suppression()
                #expect(inForce == nil)
            }
            try accounts.with("operator") { try FleetOrders($0).give(order) }
            try accounts.with("ingest") { ingest in
                let inForce = try FleetOrders(ingest).suppression()
                #expect(inForce == order)
            }

            let connector = NATSConnector(try accounts.options("aggregator"))
            defer { connector.stop() }
            let aggregator = try connector.waitUntilConnected(within: limit)
            let jetStream = JetStream(aggregator)
            expectToRead(connector)
            try TimelineWitness(connector).check(systemIdentifier: 7, timeline: 1)
            try TimelineWitness(connector).check(systemIdentifier: 7, timeline: 2)
            _ = try jetStream.message(inStream: BusStream.events, sequence: 1)
            _ = try jetStream.lastMessage(
                inStream: BusStream.heartbeats, subject: BusSubject.heartbeats)
            try store(
                to: BusSubject.deadLetters(reason: "x"), in: BusStream.deadLetters, aggregator)
            _ = try jetStream.message(inStream: BusStream.deadLetters, sequence: 1)

            // Lag, a dead letter looked at and stored again, a recount.
            let recounting = NATSConnector(try accounts.options("operator"))
            defer { recounting.stop() }
            expectToRead(recounting)
            try accounts.with("operator") { connection in
                let jetStream = JetStream(connection)
                _ = try jetStream.stream(named: BusStream.events)
                _ = try jetStream.message(inStream: BusStream.deadLetters, sequence: 1)
                let consumer = try jetStream.createConsumer(
                    ConsumerConfiguration(
                        name: "lag", startSequence: 1,
                        filterSubject: BusSubject.events(partition: 3)),
                    onStream: BusStream.events)
                #expect(consumer.pendingCount == 1)
                try jetStream.deleteConsumer(named: "lag", onStream: BusStream.events)
                try store(to: "telemetry.events.1", in: BusStream.events, connection)
            }

            // Trimming comes last here, as it takes away what the others read.
            for stream in [BusStream.events, BusStream.heartbeats] {
                try jetStream.purgeStream(named: stream, below: 2)
            }
        }
    }

    @Test func `qoectl logs in with a file`() throws {
        try Accounts.run { accounts in
            func status(_ more: String..., environment: [String: String] = [:]) throws -> Outcome {
                try Qoectl.run(
                    ["fleet", "status", "--nats-url", accounts.url] + more,
                    environment: environment)
            }
            let file = try accounts.passwordFile("operator")
            let flags = try status("--nats-user", "operator", "--nats-password-file", file)
            #expect(flags.code == 0, "\(flags)")
            let variables = try status(
                environment: ["QOE_NATS_USER": "operator", "QOE_NATS_PASSWORD_FILE": file])
            #expect(variables.code == 0, "\(variables)")
            let halfLogin = try status("--nats-user", "operator")
            #expect(halfLogin.code == 64)
            let wrong = try status(
                "--nats-user", "operator", "--nats-password-file",
                try accounts.passwordFile("ingest"))
            #expect(wrong.code == 1)
            for outcome in [halfLogin, wrong] {
                #expect(!outcome.complaints.contains("replace-me"), "\(outcome)")
            }
            let nobody = try status()
            #expect(nobody.code == 1)
        }
    }

    @Test func `what is not a program's work is refused`() throws {
        try Accounts.run { accounts in
            try accounts.with("ingest") {
                _ = try ensureStreams(settings(), on: JetStream($0))
                try store(to: "telemetry.events.0", in: BusStream.events, $0)
            }
            let api = "$JS.API"
            let forbidden = [
                "ingest": [
                    "telemetry.dlq.x", "telemetry.control.database_timeline",
                    "telemetry.fleet.suppression", "telemetry.diagnoses", "_INBOX.aggregator.x",
                    "\(api).STREAM.PURGE.TELEMETRY_EVENTS", "\(api).STREAM.DELETE.TELEMETRY_EVENTS",
                    "\(api).STREAM.MSG.GET.TELEMETRY_EVENTS",
                    "\(api).CONSUMER.CREATE.TELEMETRY_EVENTS.x",
                    "\(api).CONSUMER.MSG.NEXT.TELEMETRY_EVENTS.x",
                ],
                "aggregator": [
                    "telemetry.events.0", "telemetry.heartbeats", "telemetry.fleet.suppression",
                    "\(api).STREAM.DELETE.TELEMETRY_EVENTS",
                    "\(api).STREAM.UPDATE.TELEMETRY_EVENTS",
                    "\(api).STREAM.MSG.DELETE.TELEMETRY_EVENTS",
                    "\(api).STREAM.PURGE.TELEMETRY_DLQ", "\(api).STREAM.CREATE.MINE",
                ],
                "operator": [
                    "telemetry.dlq.x", "telemetry.control.database_timeline",
                    "\(api).STREAM.DELETE.TELEMETRY_EVENTS", "\(api).STREAM.PURGE.TELEMETRY_EVENTS",
                    "\(api).META.LEADER.STEPDOWN",
                ],
            ]
            for (user, subjects) in forbidden {
                for subject in subjects {
                    let isRefused = try accounts.isRefused(user) { connection in
                        try connection.publish(Array("{}".utf8), to: subject)
                    }
                    #expect(isRefused, "\(user) publishes to \(subject)")
                }
                for subject in [">", "telemetry.>", "_INBOX.>", "_INBOX.other.>", "$SYS.>"] {
                    let isRefused = try accounts.isRefused(user) { connection in
                        _ = try connection.subscribe(subject) { _ in }
                    }
                    #expect(isRefused, "\(user) subscribes to \(subject)")
                }
            }
            // Nothing of it happened.
            try accounts.with("operator") { connection in
                let events = try JetStream(connection).stream(named: BusStream.events)
                #expect(events.messageCount == 1)
            }
        }
    }

    @Test func `nobody gets in without a password of a user`() throws {
        try Accounts.run { accounts in
            let logins: [NATSOptions.Credentials] = [
                .none, .user("ingest", password: "wrong"), .user("diagnoser", password: ""),
                .token("replace-me-ingest"),
                .userWithPasswordFile("ingest", path: try accounts.passwordFile("operator")),
            ]
            for login in logins {
                #expect(throws: NATSError.self) {
                    try NATSConnection(
                        NATSOptions(urls: [accounts.url], name: "test", credentials: login))
                }
            }
            // A file that is not there is said to be so, and may come.
            let missing = NATSOptions(
                urls: [accounts.url], name: "test",
                credentials: .userWithPasswordFile("ingest", path: "/nonexistent/password"))
            let error = #expect(throws: NATSError.self) { try NATSConnection(missing) }
            #expect(error?.isRetriable == true)
            #expect(error?.description.contains("/nonexistent/password") == true)
        }
    }
}

/// A server with the users and permissions of `deploy/nats`.
private struct Accounts {
    let url: String
    let folder: String

    private static let deploy = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "deploy/nats")

    static func run(_ body: (Accounts) throws -> Void) throws {
        func text(_ name: String) throws -> String {
            try String(contentsOf: deploy.appending(path: name), encoding: .utf8)
        }
        let whole = try text("nats.conf")
        // Its other blocks are for containers and for servers that are newer than Debian's.
        let start = try #require(whole.range(of: "authorization {"))
        let configuration = try text("accounts.conf.example") + whole[start.lowerBound...]
        try withTemporaryFolder { folder in
            try withNATSServer(configure: { $0.moreConfiguration = configuration }) { server in
                try body(Accounts(url: server.url, folder: folder))
            }
        }
    }

    func passwordFile(_ user: String) throws -> String {
        let path = "\(folder)/\(user)"
        try Data("replace-me-\(user)\n".utf8).write(to: URL(fileURLWithPath: path))
        return path
    }

    func options(_ user: String) throws -> NATSOptions {
        NATSOptions(
            urls: [url], name: "test",
            credentials: .userWithPasswordFile(user, path: try passwordFile(user)))
    }

    func with(_ user: String, _ body: (NATSConnection) throws -> Void) throws {
        let connection = try NATSConnection(options(user))
        defer { connection.close() }
        try body(connection)
    }

    /// Whether the server answers what `body` does with a violation of permissions.
    func isRefused(_ user: String, _ body: (NATSConnection) throws -> Void) throws -> Bool {
        let errors = Monitor<[String]>([])
        let connection = try NATSConnection(options(user)) { event in
            if case .error(let error) = event { errors.update { $0.append(error.text) } }
        }
        defer { connection.close() }
        try body(connection)
        // The server answers in order: what it has to say comes before the answer to the flush.
        try connection.flush(timeout: limit)
        let refusal = errors.wait(until: .now + .seconds(5)) { errors in
            errors.contains { $0.lowercased().contains("permissions violation") } ? true : nil
        }
        return refusal ?? false
    }
}

/// Reads events and heartbeats, of which there must be some.
private func expectToRead(_ connector: NATSConnector) {
    for (reader, tag) in [
        (StreamReader.events(connector: connector), 3),
        (StreamReader.heartbeats(connector: connector), 0),
    ] {
        reader.add(tag, from: 1)
        var read: [BusMessage] = []
        let hasRead = eventually {
            read += reader.next(until: .now + .milliseconds(100))
            return !read.isEmpty
        }
        #expect(hasRead, "\(reader.stream): \(String(describing: reader.lastError))")
        reader.stop()
    }
}

private let order = SuppressionOrder(
    isActive: true, reason: "a test", orderedAtMilliseconds: 1_700_000_000_000)

private func settings(eventsByteCountMax: Int64 = 1 << 20) -> StreamSettings {
    var settings = StreamSettings(partitioning: Partitioning(count: 4))
    settings.eventsByteCountMax = eventsByteCountMax
    return settings
}

private func store(
    to subject: String, in stream: String, _ connection: NATSConnection
) throws {
    let outcome = try publishConfirmed(
        Array("{}".utf8), to: subject, stream: stream, over: connection, within: limit)
    guard case .stored = outcome else { throw OperatorError("\(subject): \(outcome)") }
}
