/// Runs shell scripts on machines.
///
/// Calls block; they are for owned threads, and may come from several at once.
package protocol MachineShell: Sendable {
    /// Runs `script` as root by the machine's `sh`, and returns when it has ended.
    ///
    /// The script itself goes by standard input and is seen by nobody in a list of processes. Text that is not ours
    /// belongs into it by ``shellQuoted(_:)`` only.
    ///
    /// - Parameters:
    ///   - input: What the script's commands read from standard input.
    ///   - onOutput: Gets standard output as it comes; the result then has none.
    /// - Throws: ``RemoteError`` when it could not be run to its end; how it ended is in the result.
    func run(
        _ script: String, on machine: Machine, input: ScriptInput, timeout: Duration,
        onOutput: ((ArraySlice<UInt8>) -> Void)?
    ) throws(RemoteError) -> ScriptOutput
}

extension MachineShell {
    package func run(
        _ script: String, on machine: Machine, input: ScriptInput = .none,
        timeout: Duration = MachineShellTimes.answer
    ) throws(RemoteError) -> ScriptOutput {
        try run(script, on: machine, input: input, timeout: timeout, onOutput: nil)
    }

    /// As ``run(_:on:input:timeout:)``, and a status other than 0 is an error that has the script's last words.
    @discardableResult
    package func succeed(
        _ script: String, on machine: Machine, input: ScriptInput = .none,
        timeout: Duration = MachineShellTimes.answer
    ) throws(RemoteError) -> ScriptOutput {
        let result = try run(script, on: machine, input: input, timeout: timeout)
        if result.status != 0 {
            throw RemoteError(.failed(status: result.status), machine, result.lastWords)
        }
        return result
    }
}

/// How long a machine may take.
package enum MachineShellTimes {
    /// Of what only asks or changes little.
    package static let answer = Duration.seconds(60)
    /// Until the connection stands.
    package static let connectSeconds = 10
}

extension ScriptOutput {
    private static let lastWordsMax = 3
    private static let lineByteMax = 400

    /// The last lines of standard error, else of standard output, in one line and printable.
    package var lastWords: String {
        let text = errors.isEmpty ? output : errors
        let lines = text.split { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }
            .suffix(Self.lastWordsMax)
            .map { line in
                String(
                    decoding: line.prefix(Self.lineByteMax).filter { $0 >= 0x20 && $0 != 0x7F },
                    as: UTF8.self)
            }
        return lines.isEmpty ? "it said nothing" : lines.joined(separator: "; ")
    }
}

/// `text` as one word of a shell.
package func shellQuoted(_ text: String) -> String {
    "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#)
        + "'"
}
