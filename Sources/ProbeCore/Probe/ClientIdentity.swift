internal import Glibc
package import Telemetry

/// Who a probe is: one name for ever, whatever its address.
package enum ClientIdentity {
    private static let fileName = "client-id"
    private static let fileBytesMax = 1024

    /// The folder where a probe keeps what must outlive it, when none is configured.
    ///
    /// `$XDG_STATE_HOME/qoe-probe`, or what the XDG Base Directory specification has in its place; for root
    /// `/var/lib/qoe-probe` (Filesystem Hierarchy Standard, section 5.8).
    package static func defaultStateFolder(
        environment: (String) -> String? = Self.environmentValue, isRoot: Bool = geteuid() == 0
    ) -> String? {
        if isRoot { return "/var/lib/qoe-probe" }
        if let state = environment("XDG_STATE_HOME"), state.hasPrefix("/") {
            return state + "/qoe-probe"
        }
        return environment("HOME").map { $0 + "/.local/state/qoe-probe" }
    }

    /// The value of an environment variable; nil when it is not set or empty.
    package static func environmentValue(_ name: String) -> String? {
        guard let value = getenv(name) else { return nil }
        let text = String(cString: value)
        return text.isEmpty ? nil : text
    }

    /// The name kept in `folder`, made and kept there when there is none.
    ///
    /// A made name is `probe-` and 12 hexadecimal digits of chance: it tells nothing of the machine.
    ///
    /// - Throws: ``FileProblem`` when the folder cannot be used or keeps something else.
    package static func keptName(in folder: String) throws(FileProblem) -> Name {
        try SmallFile.makeFolder(folder)
        let path = "\(folder)/\(fileName)"
        guard access(path, F_OK) == 0 else {
            var generator = SystemRandomNumberGenerator()
            let digits = UniqueID.random(using: &generator).description.suffix(12)
            let name = "probe-\(digits)"
            try SmallFile.replace(path, with: name + "\n")
            return Name(name)
        }
        let text = try SmallFile.read(path, bytesMax: fileBytesMax)
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count == 1, let word = words.first, isUsable(String(word)) else {
            throw FileProblem(
                path, "must hold the client's name and nothing else; delete it to get a new one")
        }
        return Name(String(word))
    }

    /// The name kept in `folder`; nil when there is none, or none that can be used. Makes nothing.
    static func knownName(in folder: String) -> Name? {
        let text = try? SmallFile.read("\(folder)/\(fileName)", bytesMax: fileBytesMax)
        let words = (text ?? "").split(whereSeparator: \.isWhitespace)
        guard words.count == 1, let word = words.first, isUsable(String(word)) else { return nil }
        return Name(String(word))
    }

    /// Whether ingest takes `name` as a client's.
    package static func isUsable(_ name: String) -> Bool {
        (1...EventLimits.clientIDBytesMax).contains(name.utf8.count)
            && !name.utf8.contains { $0 < 0x20 || $0 == 0x7F }
    }
}
