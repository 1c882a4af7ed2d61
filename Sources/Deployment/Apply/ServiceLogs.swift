/// Reads a container's log on its machine.
package struct ServiceLogs: Sendable {
    package let shell: any MachineShell
    /// As `docker logs --since` takes it; nil is from the beginning.
    package var since: String?
    /// Of the end; nil shows all.
    package var lineCount: Int?
    package var follows = false

    /// As good as no end.
    private static let followTimeout = Duration.seconds(30 * 86_400)
    private static let readTimeout = Duration.seconds(600)

    package init(shell: any MachineShell) { self.shell = shell }

    /// Calls `onLine` with each line, without control characters, on the calling thread.
    package func read(
        _ service: ComposeService, on machine: Machine, _ onLine: @escaping (String) -> Void
    ) throws(RemoteError) {
        var options = follows ? "--follow " : ""
        if let since { options += "--since \(shellQuoted(since)) " }
        if let lineCount { options += "--tail \(lineCount) " }
        let script = """
            c=$(docker ps -aq --filter label=com.docker.compose.project=\(service.tier.project) \
            --filter label=com.docker.compose.service=\(service.name) | head -n 1)
            [ -n "$c" ] || { echo 'it has no container there' >&2; exit 1; }
            docker logs \(options)"$c" 2>&1 < /dev/null

            """
        var rest: [UInt8] = []
        let result = try shell.run(
            script, on: machine, input: .none,
            timeout: follows ? Self.followTimeout : Self.readTimeout
        ) { bytes in
            rest += bytes
            while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                onLine(PrintableText.log(rest[..<end]))
                rest.removeSubrange(...end)
            }
            if rest.count > PrintableText.logByteMax {
                onLine(PrintableText.log(rest[...]))
                rest = []
            }
        }
        if !rest.isEmpty { onLine(PrintableText.log(rest[...])) }
        if result.status != 0 {
            throw RemoteError(.failed(status: result.status), machine, result.lastWords)
        }
    }
}

extension PrintableText {
    static let logByteMax = 1 << 16

    static func log(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes.filter { ($0 >= 0x20 && $0 != 0x7F) || $0 == 9 }, as: UTF8.self)
    }
}
