/// The object identifier of a PostgreSQL type; the built-in ones never change.
package struct PostgresTypeID: RawRepresentable, Hashable, Sendable {
    /// `pg_type.oid`.
    package let rawValue: UInt32

    /// Wraps an oid.
    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }
}

/// A Swift type with one binary representation in PostgreSQL.
///
/// The binary forms are those of the types' send and receive functions: integers and IEEE 754
/// doubles big-endian, text as UTF-8 without terminator.
package protocol PostgresType: Sendable {
    /// The type sent, and read.
    static var typeID: PostgresTypeID { get }
    /// The array type of ``typeID``.
    static var arrayTypeID: PostgresTypeID { get }
    /// Whether a column of type `other` can be read as this type.
    static func reads(_ other: PostgresTypeID) -> Bool
    /// Appends the binary form.
    func write(to buffer: inout [UInt8])
    /// Reads the binary form; nil when `bytes` is not one.
    init?(binary bytes: RawSpan)
}

extension PostgresType {
    /// Reads ``typeID`` alone.
    package static func reads(_ other: PostgresTypeID) -> Bool { other == typeID }
}

extension RawSpan {
    /// The big-endian integer at `offset`; nil beyond the end.
    func bigEndian<Value: FixedWidthInteger & BitwiseCopyable>(
        _ type: Value.Type = Value.self, at offset: Int = 0
    ) -> Value? {
        guard offset >= 0, byteCount >= offset + MemoryLayout<Value>.size else { return nil }
        return unsafe Value(
            bigEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: Value.self))
    }
}

extension [UInt8] {
    /// Appends the bytes of `value`, most significant first.
    mutating func appendBigEndian<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value) {
        unsafe Swift.withUnsafeBytes(of: value.bigEndian) { unsafe append(contentsOf: $0) }
    }
}

/// What the fixed-width integers share.
package protocol PostgresInteger: PostgresType, FixedWidthInteger, BitwiseCopyable {}

extension PostgresInteger {
    package func write(to buffer: inout [UInt8]) {
        buffer.appendBigEndian(self)
    }

    package init?(binary bytes: RawSpan) {
        guard bytes.byteCount == MemoryLayout<Self>.size,
            let value = bytes.bigEndian(Self.self)
        else { return nil }
        self = value
    }
}

/// `int2`.
extension Int16: PostgresInteger {
    package static var typeID: PostgresTypeID { PostgresTypeID(rawValue: 21) }
    package static var arrayTypeID: PostgresTypeID { PostgresTypeID(rawValue: 1005) }
}

/// `int4`.
extension Int32: PostgresInteger {
    package static var typeID: PostgresTypeID { PostgresTypeID(rawValue: 23) }
    package static var arrayTypeID: PostgresTypeID { PostgresTypeID(rawValue: 1007) }
}

/// `int8`.
extension Int64: PostgresInteger {
    package static var typeID: PostgresTypeID { PostgresTypeID(rawValue: 20) }
    package static var arrayTypeID: PostgresTypeID { PostgresTypeID(rawValue: 1016) }
}

/// `float8`; every bit pattern survives, NaN payloads and negative zero included.
extension Double: PostgresType {
    package static var typeID: PostgresTypeID { PostgresTypeID(rawValue: 701) }
    package static var arrayTypeID: PostgresTypeID { PostgresTypeID(rawValue: 1022) }

    package func write(to buffer: inout [UInt8]) {
        buffer.appendBigEndian(bitPattern)
    }

    package init?(binary bytes: RawSpan) {
        guard bytes.byteCount == MemoryLayout<UInt64>.size,
            let bits = bytes.bigEndian(UInt64.self)
        else { return nil }
        self.init(bitPattern: bits)
    }
}

/// `bool`.
extension Bool: PostgresType {
    package static var typeID: PostgresTypeID { PostgresTypeID(rawValue: 16) }
    package static var arrayTypeID: PostgresTypeID { PostgresTypeID(rawValue: 1000) }

    package func write(to buffer: inout [UInt8]) {
        buffer.append(self ? 1 : 0)
    }

    package init?(binary bytes: RawSpan) {
        guard bytes.byteCount == 1, let byte = bytes.bigEndian(UInt8.self) else { return nil }
        self = byte != 0
    }
}

/// `text`; also reads `varchar`, `bpchar`, `name`, `json` and unknown literals.
///
/// U+0000 cannot be stored: the server refuses it with SQLSTATE 22021.
extension String: PostgresType {
    package static var typeID: PostgresTypeID { PostgresTypeID(rawValue: 25) }
    package static var arrayTypeID: PostgresTypeID { PostgresTypeID(rawValue: 1009) }

    package static func reads(_ other: PostgresTypeID) -> Bool {
        [25, 1043, 1042, 19, 114, 705].contains(other.rawValue)
    }

    package func write(to buffer: inout [UInt8]) {
        buffer.append(contentsOf: utf8)
    }

    package init?(binary bytes: RawSpan) {
        self = unsafe bytes.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
    }
}

/// `bytea`.
extension [UInt8]: PostgresType {
    package static var typeID: PostgresTypeID { PostgresTypeID(rawValue: 17) }
    package static var arrayTypeID: PostgresTypeID { PostgresTypeID(rawValue: 1001) }

    package func write(to buffer: inout [UInt8]) {
        buffer.append(contentsOf: self)
    }

    package init?(binary bytes: RawSpan) {
        self = unsafe bytes.withUnsafeBytes { unsafe Array($0) }
    }
}
