import ArgumentParser
import Foundation
import OperatorCore
import Postgres

/// The exit code after Ctrl-C, which shells use for SIGINT.
private let interruptedCode: Int32 = 130

/// Runs `body`, which looks at the request, and ends cleanly on Ctrl-C; a second one leaves at once.
///
/// - Parameter failureCode: The exit code when `body` fails; it says why on standard error.
func interruptibly(
    failureCode: Int32 = 1, _ body: (StopRequest) throws -> Void
) throws {
    let stop = try StopRequest()
    let sources = [SIGINT, SIGTERM, SIGHUP].map { number in
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(
            signal: number, queue: DispatchQueue.global())
        source.setEventHandler {
            if stop.wasGiven { _exit(interruptedCode) }
            stop.give()
        }
        source.activate()
        return source
    }
    defer { withExtendedLifetime(sources) {} }
    do {
        try body(stop)
    } catch let code as ArgumentParser.ExitCode {
        throw code
    } catch {
        if stop.wasGiven { throw ArgumentParser.ExitCode(interruptedCode) }
        complain("Error: \(error)")
        throw ArgumentParser.ExitCode(failureCode)
    }
}

/// Prints a line on standard error.
func complain(_ text: String) {
    FileHandle.standardError.write(Data((text + "\n").utf8))
}

/// Prints `value` as JSON for programs: members in alphabetical order.
func sayJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    say(String(decoding: try encoder.encode(value), as: UTF8.self))
}
