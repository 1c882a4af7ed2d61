import ArgumentParser
import DatabaseFailover
import OperatorCore
import ServiceKit

struct FailOverDatabase: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "failover",
        abstract:
            "Makes the replica the primary: after a failure, or with --switchover as planned.",
        discussion: """
              qoectl db failover --dry-run            how both stand, and what would be done
              qoectl db failover                      the primary does not answer, its machine does
              qoectl db failover --primary-is-lost    its machine cannot be reached
              qoectl db failover --switchover         both work; nothing is lost

            Asks both servers by ssh, in their containers. Stops the old primary and marks its data, so that it never \
            serves again as what it was; then promotes the replica, sees that it writes, and says what is \
            lost. Nothing needs a restart. Refuses what would lose more than is allowed, and does nothing when \
            the primary works. Safe to repeat, also after it was interrupted; with --switchover name the \
            server that is to be the primary by --to, or a repetition changes back.

            Then make the old primary a replica: qoectl db rejoin. See docs/failures/database.md.

            Exit codes: 0 done, or nothing to do; 1 refused or failed; 64 wrong usage; 78 something is wrong \
            with the hosts file; 130 after Ctrl-C.
            """)

    @OptionGroup var hosts: HostsOptions

    @OptionGroup var remote: RemoteOptions

    @Flag(help: "Exchange the roles of two servers that work: a clean stop first, nothing is lost.")
    var switchover = false

    @Option(
        help: ArgumentHelp(
            "The server that is to be the primary: postgres-primary or postgres-replica.",
            valueName: "name"))
    var to: String?

    @Flag(
        help: """
            The primary's machine cannot be reached and is off, or cut off from the programs: go on without \
            stopping it.
            """)
    var primaryIsLost = false

    @Option(help: ArgumentHelp("So much of the log may be lost.", valueName: "size"))
    var maxLag = "64MiB"

    @Option(
        help: ArgumentHelp(
            "With a lost primary: the replica must have heard it within this time.",
            valueName: "duration"))
    var maxSilence = "1h"

    @Flag(help: "Accept any loss, and a replica that does not receive the log.")
    var force = false

    @Flag(help: "Only say how both stand and what would be done.")
    var dryRun = false

    func validate() throws {
        _ = try policy
    }

    private var policy: FailoverPolicy {
        get throws {
            var policy = FailoverPolicy()
            guard let bytes = UnitText.byteCount(maxLag), bytes >= 0 else {
                throw ValidationError("--max-lag '\(maxLag)' is no size such as 64MiB")
            }
            guard let silence = UnitText.duration(maxSilence) else {
                throw ValidationError("--max-silence '\(maxSilence)' is no duration such as 1h")
            }
            policy.lagBytesMax = UInt64(bytes)
            policy.silenceSecondsMax = silence.components.seconds
            policy.target = to
            policy.isSwitchover = switchover
            policy.primaryIsLost = primaryIsLost
            policy.isForced = force
            return policy
        }
    }

    func run() throws {
        let inventory = try hosts.inventory()
        try interruptibly { stop in
            let pair = try DatabasePair(inventory, remote.shell { stop.wasGiven })
            if let to, !pair.servers.contains(where: { $0.name == to }) {
                throw CommandFailure("--to \(to): there are postgres-primary and postgres-replica")
            }
            let failover = Failover(pair, try policy, isStopped: { stop.wasGiven }) { say($0) }
            switch try failover.decide() {
            case .nothingToDo(let reason): say("nothing to do: \(reason)")
            case .refused(let reason): throw CommandFailure("refused: \(reason)")
            case .promote(let name, let old, let isClean, let fences):
                guard !dryRun else {
                    say(
                        "would \(fences ? "stop \(old) and " : "")promote \(name)"
                            + (isClean ? "; nothing would be lost" : ""))
                    return
                }
                try failover.promote(name, insteadOf: old, isClean: isClean, fences: fences)
            }
        }
    }
}
