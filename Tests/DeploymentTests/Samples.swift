import Deployment
import Foundation

/// The hosts file that the project shows.
let exampleHosts: String = {
    let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    return (try? String(contentsOf: root.appending(path: "hosts.example"), encoding: .utf8)) ?? ""
}()

/// An installation on one machine, with any lines added.
func onOneMachine(_ more: String...) -> String {
    (["192.0.2.1 postgres-primary nats-1 aggregator-1 diagnoser-1 ingest-1"] + more)
        .joined(separator: "\n")
}

/// What is wrong with a hosts file, as `qoectl` prints it; warnings too when there are errors.
func problems(_ text: String) -> [String] {
    do throws(HostsError) {
        return try Inventory(text).warnings.map { $0.text(file: "hosts") }
    } catch {
        return error.problems.map { $0.text(file: "hosts") }
    }
}

func isRefused(_ text: String) -> Bool {
    (try? Inventory(text)) == nil
}
