/// A `jsonb` as text; the server decides whether it is JSON.
///
/// Reading back gives PostgreSQL's own rendering: keys sorted by length, duplicates gone.
package struct PostgresJSON: Hashable, Sendable {
    /// The JSON text.
    package let text: String

    /// Wraps `text` unchecked.
    package init(_ text: String) {
        self.text = text
    }
}

extension PostgresJSON: PostgresType {
    package static var typeID: PostgresTypeID { PostgresTypeID(rawValue: 3802) }
    package static var arrayTypeID: PostgresTypeID { PostgresTypeID(rawValue: 3807) }

    /// The only version of the binary form so far.
    private static let version: UInt8 = 1

    package func write(to buffer: inout [UInt8]) {
        buffer.append(Self.version)
        buffer.append(contentsOf: text.utf8)
    }

    package init?(binary bytes: RawSpan) {
        guard bytes.bigEndian(UInt8.self) == Self.version,
            let text = String(binary: bytes.extracting(droppingFirst: 1))
        else { return nil }
        self.init(text)
    }
}
