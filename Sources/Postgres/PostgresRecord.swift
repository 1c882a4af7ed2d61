/// Writes the columns of one composite value, in the order of its type.
///
/// The forms for the usual types are written out: another module's calls of the generic ones are not
/// specialised, which for a row of a hundred columns costs more than everything else.
package struct PostgresRecordWriter {
    /// The parameter's buffer, on loan.
    fileprivate var bytes: [UInt8]
    fileprivate var columns: Int32 = 0

    fileprivate init(_ bytes: consuming [UInt8]) {
        self.bytes = bytes
    }

    /// Appends one column; nil is NULL.
    package mutating func append<Value: PostgresType>(_ value: Value?) {
        append(Value.typeID) { bytes in
            value?.write(to: &bytes)
            return value != nil
        }
    }

    /// Appends one `int8` column; nil is NULL.
    package mutating func append(_ value: Int64?) {
        guard let value else { return appendNull(Int64.typeID) }
        appendEightBytes(Int64.typeID, UInt64(bitPattern: value))
    }

    /// Appends one `float8` column; nil is NULL.
    package mutating func append(_ value: Double?) {
        guard let value else { return appendNull(Double.typeID) }
        appendEightBytes(Double.typeID, value.bitPattern)
    }

    /// Appends one `text` column; nil is NULL.
    package mutating func append(_ value: String?) {
        guard var value else { return appendNull(String.typeID) }
        columns &+= 1
        value.withUTF8 { text in
            bytes.appendBigEndian(
                UInt64(String.typeID.rawValue) << 32 | UInt64(UInt32(clamping: text.count)))
            unsafe bytes.append(contentsOf: UnsafeRawBufferPointer(text))
        }
    }

    /// Appends one array column without NULL elements; nil makes the column NULL.
    package mutating func append<Value: PostgresType>(array: [Value]?) {
        append(Value.arrayTypeID) { bytes in
            guard let array else { return false }
            bytes.appendArray(of: array) { $0 }
            return true
        }
    }

    /// Appends one `int8[]` column of the bits that `mask` leaves of each element.
    package mutating func append(bigints: Span<UInt64>, mask: UInt64) {
        append(Int64.arrayTypeID) { bytes in
            bytes.appendArrayHeader(elementType: Int64.typeID, count: bigints.count)
            for index in bigints.indices {
                let length = UInt32(MemoryLayout<Int64>.size).bigEndian
                let element = (length, Self.split(bigints[index] & mask))
                unsafe withUnsafeBytes(of: element) { unsafe bytes.append(contentsOf: $0) }
            }
            return true
        }
    }

    /// The halves of a number in network order: an element of 12 bytes is not a multiple of 8.
    @inline(__always)
    private static func split(_ value: UInt64) -> (UInt32, UInt32) {
        (
            UInt32(truncatingIfNeeded: value >> 32).bigEndian,
            UInt32(truncatingIfNeeded: value).bigEndian
        )
    }

    private mutating func appendNull(_ typeID: PostgresTypeID) {
        columns &+= 1
        // A length of -1.
        bytes.appendBigEndian(UInt64(typeID.rawValue) << 32 | UInt64(UInt32.max))
    }

    private mutating func appendEightBytes(_ typeID: PostgresTypeID, _ bits: UInt64) {
        columns &+= 1
        let head = UInt64(typeID.rawValue) << 32 | UInt64(MemoryLayout<UInt64>.size)
        unsafe withUnsafeBytes(of: (head.bigEndian, bits.bigEndian)) { column in
            unsafe bytes.append(contentsOf: column)
        }
    }

    private mutating func append(
        _ typeID: PostgresTypeID, _ write: (inout [UInt8]) -> Bool
    ) {
        columns &+= 1
        bytes.appendBigEndian(typeID.rawValue)
        bytes.appendSized(write)
    }

    /// Gives the buffer back.
    fileprivate consuming func finish() -> [UInt8] { bytes }

    /// Writes one composite value: its size, how many columns it has, and the columns.
    fileprivate mutating func appendRecord(_ write: (inout PostgresRecordWriter) -> Void) {
        let start = bytes.count
        columns = 0
        bytes.appendBigEndian(UInt64(0))
        write(&self)
        bytes.store(UInt32(clamping: bytes.count - start - 4), at: start)
        bytes.store(UInt32(bitPattern: columns), at: start + 4)
    }
}

extension PostgresParameters {
    /// Appends an array of composite values, the form in which whole rows with arrays of different
    /// lengths can be sent: the statement says `unnest($1::type[])`.
    ///
    /// - Parameters:
    ///   - count: how many values.
    ///   - type: from ``PostgresConnection/typeID(of:)``, since it differs between databases.
    ///   - write: writes the columns of the value with a number from 0 on; all of them, in the type's
    ///     order.
    package mutating func append(
        records count: Int, type: PostgresTypeID,
        _ write: (Int, inout PostgresRecordWriter) -> Void
    ) {
        // Zero lets the server take the parameter's type from the statement's cast.
        append(typeID: PostgresTypeID(rawValue: 0)) { bytes in
            bytes.appendArrayHeader(elementType: type, count: count)
            var lent: [UInt8] = []
            swap(&lent, &bytes)
            var writer = PostgresRecordWriter(lent)
            lent = []
            for index in 0..<count {
                writer.appendRecord { write(index, &$0) }
            }
            bytes = writer.finish()
        }
    }
}

extension PostgresConnection {
    /// The identifier of the type that the server calls `name`.
    package func typeID(of name: String) throws(PostgresError) -> PostgresTypeID {
        var parameters = PostgresParameters()
        parameters.append(name)
        let result = try query("SELECT $1::text::regtype::oid::int8", parameters)
        guard var row = result.first else {
            throw PostgresError(.unexpectedResult, "there is no type \(name)")
        }
        return PostgresTypeID(rawValue: UInt32(truncatingIfNeeded: try row.next(Int64.self)))
    }
}

extension [UInt8] {
    /// Appends a 32-bit length and what `write` writes; -1 alone when it returns false, for NULL.
    mutating func appendSized(_ write: (inout [UInt8]) -> Bool) {
        let start = count
        appendBigEndian(Int32(-1))
        guard write(&self) else { return }
        store(UInt32(clamping: count - start - 4), at: start)
    }

    /// Overwrites four bytes, most significant first.
    fileprivate mutating func store(_ value: UInt32, at start: Int) {
        for byte in 0..<4 {
            self[start + byte] = UInt8(truncatingIfNeeded: value >> (24 - 8 * UInt32(byte)))
        }
    }

    /// Appends the head of a one-dimensional array; an empty one has no dimension at all.
    mutating func appendArrayHeader(elementType: PostgresTypeID, count: Int) {
        appendBigEndian(Int32(count == 0 ? 0 : 1))
        // Whether there are NULLs; the server finds them by their lengths and only wants 0 or 1.
        appendBigEndian(Int32(0))
        appendBigEndian(elementType.rawValue)
        if count > 0 {
            appendBigEndian(Int32(clamping: count))
            appendBigEndian(Int32(1))
        }
    }

    /// Appends a one-dimensional array; a nil element is NULL.
    mutating func appendArray<Items: Collection, Value: PostgresType>(
        of items: Items, _ element: (Items.Element) -> Value?
    ) {
        appendArrayHeader(elementType: Value.typeID, count: items.count)
        for item in items {
            appendSized { bytes in
                guard let value = element(item) else { return false }
                value.write(to: &bytes)
                return true
            }
        }
    }
}
