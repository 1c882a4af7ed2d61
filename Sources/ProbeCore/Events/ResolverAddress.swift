internal import Glibc
internal import Synchronization
internal import Transport

/// The address of the name server in use, as far as the system's files tell.
///
/// A server on this machine (a stub such as 127.0.0.53) only passes questions on and would look the same
/// on every machine; the one behind it is told when systemd-resolved wrote it down, else none.
package final class ResolverAddress: Sendable {
    private let files: [String]
    private let cached = Mutex<(address: String?, readAt: MonotonicInstant)?>(nil)

    /// How long an answer holds: networks change while a probe runs.
    private static let keptFor = Duration.seconds(60)
    /// Larger files are not a resolver's configuration.
    private static let fileBytesMax = 64 * 1024

    package init(
        files: [String] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]
    ) {
        self.files = files
    }

    /// The address now, nil when it is not known.
    package var current: String? {
        cached.withLock { cached in
            let now = MonotonicInstant.now()
            if let known = cached, now.since(known.readAt) < Self.keptFor { return known.address }
            let address = files.lazy.compactMap(Self.firstServer(inFile:)).first
            cached = (address, now)
            return address
        }
    }

    private static func firstServer(inFile path: String) -> String? {
        guard let text = try? SmallFile.read(path, bytesMax: fileBytesMax) else { return nil }
        return firstServer(in: text)
    }

    /// The first `nameserver` (resolv.conf(5)) when it is an address outside this machine.
    static func firstServer(in text: String) -> String? {
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard words.first == "nameserver", words.count >= 2 else { continue }
            let server = String(words[1])
            guard let address = SocketAddress(literal: server, port: 53) else { return nil }
            return address.host.hasPrefix("127.") || address.host == "::1" ? nil : address.host
        }
        return nil
    }
}
