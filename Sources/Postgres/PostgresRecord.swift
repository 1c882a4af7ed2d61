/// Writes the columns of one composite value, in the order of its type.
package struct PostgresRecordWriter {
    fileprivate(set) var bytes: [UInt8] = []
    fileprivate(set) var columns: Int32 = 0

    /// Appends one column; nil is NULL.
    package mutating func append<Value: PostgresType>(_ value: Value?) {
        append(Value.typeID) { bytes in
            value?.write(to: &bytes)
            return value != nil
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

    private mutating func append(
        _ typeID: PostgresTypeID, _ write: (inout [UInt8]) -> Bool
    ) {
        columns += 1
        bytes.appendBigEndian(typeID.rawValue)
        bytes.appendSized(write)
    }
}

extension PostgresParameters {
    /// Appends an array of composite values, the form in which whole rows with arrays of different
    /// lengths can be sent: the statement says `unnest($1::type[])`.
    ///
    /// - Parameters:
    ///   - type: from ``PostgresConnection/typeID(of:)``, since it differs between databases.
    ///   - write: writes the columns of one value; all of them, in the type's order.
    package mutating func append<Items: Collection>(
        recordsOf items: Items, type: PostgresTypeID,
        _ write: (Items.Element, inout PostgresRecordWriter) -> Void
    ) {
        // Zero lets the server take the parameter's type from the statement's cast.
        append(typeID: PostgresTypeID(rawValue: 0)) { bytes in
            bytes.appendArrayHeader(elementType: type, count: items.count)
            var writer = PostgresRecordWriter()
            for item in items {
                writer.columns = 0
                writer.bytes.removeAll(keepingCapacity: true)
                write(item, &writer)
                bytes.appendSized { bytes in
                    writer.columns.write(to: &bytes)
                    bytes.append(contentsOf: writer.bytes)
                    return true
                }
            }
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
        let length = UInt32(clamping: count - start - 4)
        for byte in 0..<4 {
            self[start + byte] = UInt8(truncatingIfNeeded: length >> (24 - 8 * UInt32(byte)))
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
