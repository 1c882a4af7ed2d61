/// A cursor over the columns of one row, from left to right.
///
/// Every read moves on by one column and throws ``PostgresError/Code/unexpectedResult`` when the
/// column has another type, or is NULL where a value is asked for.
package struct PostgresRow {
    private let result: PostgresResult
    private let index: Int
    private var column = 0

    init(_ result: PostgresResult, _ index: Int) {
        self.result = result
        self.index = index
    }

    /// Reads a column that may be NULL.
    package mutating func nextOptional<Value: PostgresType>(
        _ type: Value.Type = Value.self
    ) throws(PostgresError) -> Value? {
        defer { column += 1 }
        return try result.value(
            row: index, column: column, expecting: "\(type)", reads: Value.reads
        ) { Value(binary: $0) }
    }

    /// Reads a column that is never NULL.
    package mutating func next<Value: PostgresType>(
        _ type: Value.Type = Value.self
    ) throws(PostgresError) -> Value {
        guard let value = try nextOptional(type) else {
            throw result.failure("column \(column) is NULL")
        }
        return value
    }

    /// Reads an array column whose elements may be NULL; nil when the array itself is NULL.
    package mutating func nextOptionalSparseArray<Value: PostgresType>(
        of type: Value.Type = Value.self
    ) throws(PostgresError) -> [Value?]? {
        defer { column += 1 }
        return try result.value(
            row: index, column: column, expecting: "array of \(type)",
            reads: { $0 == Value.arrayTypeID }
        ) { readArray($0) }
    }

    /// Reads an array column without NULL elements; nil when the array itself is NULL.
    package mutating func nextOptionalArray<Value: PostgresType>(
        of type: Value.Type = Value.self
    ) throws(PostgresError) -> [Value]? {
        guard let sparse = try nextOptionalSparseArray(of: type) else { return nil }
        var values: [Value] = []
        values.reserveCapacity(sparse.count)
        for element in sparse {
            guard let element else {
                throw result.failure("column \(column) has a NULL in its array")
            }
            values.append(element)
        }
        return values
    }

    /// Reads an array column that is never NULL and has no NULL elements.
    package mutating func nextArray<Value: PostgresType>(
        of type: Value.Type = Value.self
    ) throws(PostgresError) -> [Value] {
        guard let values = try nextOptionalArray(of: type) else {
            throw result.failure("column \(column) is NULL")
        }
        return values
    }
}

/// Reads the binary form of a one-dimensional array: dimensions, flags, element type, then per
/// dimension its size and lower bound, then each element with its length, -1 for NULL.
func readArray<Value: PostgresType>(_ bytes: RawSpan) -> [Value?]? {
    guard let dimensions = bytes.bigEndian(Int32.self),
        let elementType = bytes.bigEndian(UInt32.self, at: 8)
    else { return nil }
    guard Value.reads(PostgresTypeID(rawValue: elementType)) else { return nil }
    if dimensions == 0 { return [] }
    guard dimensions == 1, let size = bytes.bigEndian(Int32.self, at: 12), size >= 0 else {
        return nil
    }
    var offset = 20
    var values: [Value?] = []
    // Each element takes at least its length, which bounds what a false size can reserve.
    values.reserveCapacity(min(Int(size), bytes.byteCount / 4))
    for _ in 0..<size {
        guard let length = bytes.bigEndian(Int32.self, at: offset) else { return nil }
        offset += 4
        if length < 0 {
            values.append(nil)
            continue
        }
        guard offset + Int(length) <= bytes.byteCount,
            let value = Value(
                binary: bytes.extracting(droppingFirst: offset).extracting(first: Int(length)))
        else { return nil }
        values.append(value)
        offset += Int(length)
    }
    return values
}
