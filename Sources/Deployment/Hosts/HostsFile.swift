/// The lines of a hosts file, as hosts(5) has them.
struct HostsFile {
    struct Entry {
        let line: Int
        let address: HostAddress
        /// At least one; each is a host name.
        let names: [String]
    }

    private(set) var entries: [Entry] = []
    private(set) var problems: [HostsProblem] = []

    /// Far more than an installation has machines.
    private static let lineMax = 10_000

    init(_ text: String) {
        // By bytes: as characters, a line's end and a mark can hide in what they stand beside.
        let lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        if lines.count > Self.lineMax {
            problems.append(
                HostsProblem(
                    "has \(lines.count) lines, more than \(Self.lineMax): is it a hosts file?"))
            return
        }
        for (index, line) in lines.enumerated() {
            let words = line.prefix { $0 != UInt8(ascii: "#") }
                .split { [UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r")].contains($0) }
                .map { String(Substring($0)) }
            if let first = words.first { read(first, Array(words.dropFirst()), at: index + 1) }
        }
    }

    private mutating func read(_ first: String, _ names: [String], at line: Int) {
        guard let address = HostAddress(first) else {
            complain(
                line,
                "\(Self.quoted(first)) is not an IP address; a line is an address and then names, "
                    + "such as 192.0.2.21 nats-1")
            return
        }
        guard !names.isEmpty else {
            complain(line, "no name after \(address); name its role, such as nats-1")
            return
        }
        var good: [String] = []
        for name in names {
            if Self.isHostName(name) {
                good.append(name)
            } else {
                complain(
                    line,
                    "\(Self.quoted(name)) is not a host name: letters, digits, hyphens and points, "
                        + "at most 63 characters between points, not all digits at the end")
            }
        }
        if !good.isEmpty { entries.append(Entry(line: line, address: address, names: good)) }
    }

    private mutating func complain(_ line: Int, _ message: String) {
        problems.append(HostsProblem(line: line, message))
    }

    /// RFC 1123, section 2.1, with underscores, which some networks have; and not to be mistaken for an address.
    private static func isHostName(_ name: String) -> Bool {
        let labels = name.utf8.split(
            separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
        return name.utf8.count <= 253 && labels.last?.allSatisfy(digits.contains) == false
            && labels.allSatisfy { label in
                (1...63).contains(label.count)
                    && label.first != UInt8(ascii: "-") && label.last != UInt8(ascii: "-")
                    && label.allSatisfy(isHostLetter)
            }
    }

    private static func isHostLetter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    /// A word of the file for a message: short and printable.
    private static func quoted(_ word: String) -> String {
        let shown = word.unicodeScalars.prefix(60).map {
            $0.isASCII && $0.value >= 0x20 && $0.value != 0x7F ? Character($0) : "?"
        }
        return "'\(String(shown))'"
    }
}
