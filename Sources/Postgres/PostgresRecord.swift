/// Writes the columns of one composite value, in the order of its type.
///
/// Rows have a hundred columns and are written by the ten thousand, so the usual types have forms of their own
/// (another module's calls of the generic ones are not specialised), and a row is put together in memory
/// that is reused.
@safe package struct PostgresRecordWriter: ~Copyable {
    private var memory: UnsafeMutableRawPointer
    private var capacity: Int
    /// Bytes of the present value.
    private var count = 0
    private var columns: UInt32 = 0

    private static let capacityMin = 4096
    /// The size of the value, and how many columns it has.
    private static let headSize = 8
    /// A column's type and size.
    private static let columnHeadSize = 8

    fileprivate init() {
        capacity = Self.capacityMin
        unsafe memory = .allocate(byteCount: Self.capacityMin, alignment: 8)
    }

    deinit {
        unsafe memory.deallocate()
    }

    /// Appends one column; nil is NULL.
    package mutating func append<Value: PostgresType>(_ value: Value?) {
        guard let value else { return appendNull(Value.typeID) }
        var bytes: [UInt8] = []
        value.write(to: &bytes)
        append(Value.typeID, bytes)
    }

    /// Appends one array column without NULL elements; nil makes the column NULL.
    package mutating func append<Value: PostgresType>(array: [Value]?) {
        guard let array else { return appendNull(Value.arrayTypeID) }
        var bytes: [UInt8] = []
        bytes.appendArray(of: array) { $0 }
        append(Value.arrayTypeID, bytes)
    }

    /// Appends one `int8` column; nil is NULL.
    package mutating func append(_ value: Int64?) {
        guard let value else { return appendNull(Int64.typeID) }
        append(Int64.typeID, eightBytes: UInt64(bitPattern: value))
    }

    /// Appends one `float8` column; nil is NULL.
    package mutating func append(_ value: Double?) {
        guard let value else { return appendNull(Double.typeID) }
        append(Double.typeID, eightBytes: value.bitPattern)
    }

    /// Appends one `text` column; nil is NULL.
    package mutating func append(_ value: String?) {
        guard var value else { return appendNull(String.typeID) }
        value.withUTF8 { text in
            unsafe append(String.typeID, UnsafeRawBufferPointer(text))
        }
    }

    /// Appends one `int8[]` column of the bits that `mask` leaves of each element.
    package mutating func append(bigints: Span<UInt64>, mask: UInt64) {
        let elementSize = 4 + MemoryLayout<UInt64>.size
        var header: [UInt8] = []
        header.appendArrayHeader(elementType: Int64.typeID, count: bigints.count)
        let size = header.count + bigints.count * elementSize
        begin(Int64.arrayTypeID, size: size)
        for byte in header { store(byte) }
        for index in bigints.indices {
            store(UInt32(truncatingIfNeeded: MemoryLayout<UInt64>.size).bigEndian)
            store((bigints[index] & mask).bigEndian)
        }
    }

    private mutating func append(_ typeID: PostgresTypeID, _ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe append(typeID, $0) }
    }

    private mutating func append(_ typeID: PostgresTypeID, _ bytes: UnsafeRawBufferPointer) {
        begin(typeID, size: bytes.count)
        if let start = bytes.baseAddress {
            unsafe (memory + count).copyMemory(from: start, byteCount: bytes.count)
            count &+= bytes.count
        }
    }

    @inline(__always)
    private mutating func append(_ typeID: PostgresTypeID, eightBytes: UInt64) {
        begin(typeID, size: MemoryLayout<UInt64>.size)
        store(eightBytes.bigEndian)
    }

    private mutating func appendNull(_ typeID: PostgresTypeID) {
        columns &+= 1
        reserve(Self.columnHeadSize)
        // A size of -1.
        store((UInt64(typeID.rawValue) << 32 | UInt64(UInt32.max)).bigEndian)
    }

    /// Begins a column and makes room for its `size` bytes.
    @inline(__always)
    private mutating func begin(_ typeID: PostgresTypeID, size: Int) {
        columns &+= 1
        reserve(Self.columnHeadSize &+ size)
        store((UInt64(typeID.rawValue) << 32 | UInt64(UInt32(clamping: size))).bigEndian)
    }

    /// Writes a number as it is; there is room for it.
    @inline(__always)
    private mutating func store<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value) {
        unsafe memory.storeBytes(of: value, toByteOffset: count, as: Value.self)
        count &+= MemoryLayout<Value>.size
    }

    @inline(__always)
    private mutating func reserve(_ size: Int) {
        if count &+ size > capacity { grow(to: count &+ size) }
    }

    private mutating func grow(to size: Int) {
        capacity = max(size, capacity * 2)
        let grown = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 8)
        unsafe grown.copyMemory(from: memory, byteCount: count)
        unsafe memory.deallocate()
        unsafe memory = grown
    }

    /// Appends one value to `bytes`: its size, how many columns it has, and the columns that `write` writes.
    fileprivate mutating func append(
        to bytes: inout [UInt8], _ write: (inout PostgresRecordWriter) -> Void
    ) {
        count = Self.headSize
        columns = 0
        write(&self)
        let size = UInt32(clamping: count - 4)
        unsafe memory.storeBytes(
            of: (UInt64(size) << 32 | UInt64(columns)).bigEndian, as: UInt64.self)
        unsafe bytes.append(contentsOf: UnsafeRawBufferPointer(start: memory, count: count))
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
            var writer = PostgresRecordWriter()
            for index in 0..<count {
                writer.append(to: &bytes) { write(index, &$0) }
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
        store(UInt32(clamping: count - start - 4), at: start)
    }

    /// Overwrites four bytes, most significant first.
    private mutating func store(_ value: UInt32, at start: Int) {
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
