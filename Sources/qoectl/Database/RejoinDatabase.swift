import ArgumentParser
import DatabaseFailover
import OperatorCore
import ServiceKit

struct RejoinDatabase: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rejoin",
        abstract: "Makes the server that is not the primary its replica again.",
        discussion: """
            After a failover, for the old primary when its machine is back; or for a replica that has fallen out. What \
            it alone had committed is undone by pg_rewind; where that does not do, the primary is copied anew. \
            Returns when the log streams. Safe to repeat, also after it was interrupted.

            Exit codes: 0 done, or nothing to do; 1 refused or failed; 64 wrong usage; 78 something is wrong \
            with the hosts file; 130 after Ctrl-C.
            """)

    @OptionGroup var hosts: HostsOptions

    @OptionGroup var remote: RemoteOptions

    @Option(
        help: ArgumentHelp(
            "How long a copy may take; it goes on after that, unwatched.", valueName: "duration"))
    var timeout = "2h"

    @Flag(help: "Only say how both stand and what would be done.")
    var dryRun = false

    func validate() throws {
        _ = try limit
    }

    private var limit: Duration {
        get throws {
            guard let limit = UnitText.duration(timeout) else {
                throw ValidationError("--timeout '\(timeout)' is no duration such as 2h")
            }
            return limit
        }
    }

    func run() throws {
        let inventory = try hosts.inventory()
        try interruptibly { stop in
            let pair = try DatabasePair(inventory, remote.shell { stop.wasGiven })
            let rejoin = Rejoin(pair, timeout: try limit, isStopped: { stop.wasGiven }) { say($0) }
            switch try rejoin.decide() {
            case .nothingToDo(let reason): say("nothing to do: \(reason)")
            case .refused(let reason): throw CommandFailure("refused: \(reason)")
            case .start(let name, let primary):
                if dryRun {
                    say("would start \(name), which follows \(primary)")
                } else {
                    try rejoin.start(name, following: primary)
                }
            case .remake(let name, let primary):
                if dryRun {
                    say("would make \(name) the replica of \(primary)")
                } else {
                    try rejoin.remake(name, following: primary)
                }
            }
        }
    }
}
