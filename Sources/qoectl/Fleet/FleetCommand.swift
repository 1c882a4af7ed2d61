import ArgumentParser
import Bus
import Foundation
import NATSClient
import OperatorCore

/// Orders to all probes.
struct FleetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fleet",
        abstract: "Stops all probes from measuring, and lets them go on.",
        discussion: """
            An order goes to NATS; every ingest hands it on with its answers. A probe that measures posts \
            every second and so knows within seconds; one that does not, with its next heartbeat (30 s). \
            While stopped, probes deliver what they have, send heartbeats, and count every measurement \
            they leave out. An order holds until the next one, also over restarts of everything.

            Exit codes: 0; 1 when the order could not be given or read; 64 wrong usage; 130 after Ctrl-C.
            """,
        subcommands: [StopFleet.self, ResumeFleet.self, ShowFleet.self])

    struct StopFleet: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "stop", abstract: "Tells all probes to measure nothing.")

        @OptionGroup var nats: NATSOptionGroup

        @Option(help: "Why, for whoever looks at status or at the logs of ingest.")
        var reason: String?

        func run() throws {
            try nats.giveOrder(isActive: true, reason: reason)
            say("probes are told to measure nothing; qoectl fleet resume ends that")
        }
    }

    struct ResumeFleet: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "resume", abstract: "Lets all probes measure again.")

        @OptionGroup var nats: NATSOptionGroup

        func run() throws {
            try nats.giveOrder(isActive: false, reason: nil)
            say("probes are told to measure again")
        }
    }

    struct ShowFleet: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "status", abstract: "Shows the order in force.")

        @OptionGroup var nats: NATSOptionGroup

        @Flag(help: "Print JSON.")
        var json = false

        func run() throws {
            try interruptibly { _ in
                let order = try nats.connected { try FleetOrders($0).suppression() }
                if json {
                    try sayJSON(OrderDocument(order))
                } else {
                    say(Self.line(order))
                }
            }
        }

        private static func line(_ order: SuppressionOrder?) -> String {
            guard let order else { return "probes measure; they were never stopped" }
            let moment = Date(
                timeIntervalSince1970: Double(order.orderedAtMilliseconds) / 1000)
            let when = moment.formatted(.iso8601)
            guard order.isActive else { return "probes measure, again since \(when)" }
            return "probes are told to measure nothing since \(when)"
                + (order.reason.map { ": \($0)" } ?? "")
        }
    }

    /// What `status --json` prints.
    private struct OrderDocument: Encodable {
        let suppressed: Bool
        let reason: String?
        let since_ts_ms: Int64?

        init(_ order: SuppressionOrder?) {
            suppressed = order?.isActive ?? false
            reason = order?.reason
            since_ts_ms = order?.orderedAtMilliseconds
        }
    }
}

extension NATSOptionGroup {
    fileprivate func giveOrder(isActive: Bool, reason: String?) throws {
        try interruptibly { _ in
            let now = Int64(Date().timeIntervalSince1970 * 1000)
            try connected {
                try FleetOrders($0).give(
                    SuppressionOrder(
                        isActive: isActive, reason: reason, orderedAtMilliseconds: now))
            }
        }
    }
}
