import ArgumentParser
import Foundation
import ServiceKit
import Transport

/// Asks a program how it is; what container engines call, as an image has neither shell nor curl.
struct HealthCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "health",
        abstract: "Asks a program of this platform whether it is alive.",
        discussion: """
            Asks /health at the address of --metrics-listen, and says nothing when the answer is 200. Without \
            an address, asks the program that wrote the file QOE_PORT_FILE; the image sets that variable for \
            both, so that its health check needs to know neither the program nor its settings.

            Exit codes: 0 healthy; 1 not, with the answer or the reason on standard error; 64 wrong usage.
            """)

    @Argument(
        help: ArgumentHelp(
            "Where the program answers, such as 127.0.0.1:9090.", valueName: "host:port"))
    var address: String?

    @Flag(help: "Ask /ready instead: whether all that the program depends on works too.")
    var ready = false

    func validate() throws {
        if let address, NetworkAddress(address) == nil {
            throw ValidationError("'\(address)' is not host:port")
        }
    }

    func run() throws {
        do {
            let target = try asked
            let answer = try HealthQuestion(path: ready ? "/ready" : "/health", of: target).ask()
            guard answer.status == 200 else {
                throw CommandFailure("\(target) answered \(answer.status): \(answer.body)")
            }
        } catch {
            complain("Error: \(error)")
            throw ArgumentParser.ExitCode(1)
        }
    }

    private var asked: NetworkAddress {
        get throws {
            if let address = address.flatMap({ NetworkAddress($0) }) { return address }
            guard let path = ProcessInfo.processInfo.environment["QOE_PORT_FILE"] else {
                throw CommandFailure("give host:port, or QOE_PORT_FILE in the environment")
            }
            guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
                throw CommandFailure(
                    "\(path) is not there: the program does not listen yet, or its "
                        + "--metrics-listen is off")
            }
            let prefix = "metrics="
            let line = text.split(separator: "\n").first { $0.hasPrefix(prefix) }
            guard let line, let address = NetworkAddress(String(line.dropFirst(prefix.count)))
            else {
                throw CommandFailure("\(path) names no metrics listener: --metrics-listen is off")
            }
            return address
        }
    }
}
