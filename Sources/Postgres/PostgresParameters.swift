/// The values of one statement's parameters, in binary, in the order `$1`, `$2`, …
///
/// All values share one buffer, so that a batch of thousands of rows costs a handful of
/// allocations. Values never appear in errors.
package struct PostgresParameters: Sendable {
    struct Slot {
        let typeID: PostgresTypeID
        let offset: Int
        /// Nil for NULL.
        let count: Int?
    }

    /// One byte ahead of everything, so that even an empty value has an address.
    private(set) var bytes: [UInt8] = [0]
    private(set) var slots: [Slot] = []

    /// No parameters.
    package init() {}

    /// Appends one value; nil is NULL.
    package mutating func append<Value: PostgresType>(_ value: Value?) {
        let offset = bytes.count
        value?.write(to: &bytes)
        slots.append(
            Slot(
                typeID: Value.typeID, offset: offset,
                count: value == nil ? nil : bytes.count - offset))
    }

    /// Appends one array parameter with an element per item of `items`; a nil element is NULL.
    ///
    /// Made for writing rows by column: `append(arrayOf: rows) { $0.count }`.
    package mutating func append<Items: Collection, Value: PostgresType>(
        arrayOf items: Items, _ element: (Items.Element) -> Value?
    ) {
        append(typeID: Value.arrayTypeID) { $0.appendArray(of: items, element) }
    }

    /// Appends one array parameter without NULL elements.
    package mutating func append<Value: PostgresType>(array: [Value]) {
        append(arrayOf: array) { $0 }
    }

    /// Appends one parameter that is not NULL, in the binary form that `write` writes.
    mutating func append(typeID: PostgresTypeID, _ write: (inout [UInt8]) -> Void) {
        let offset = bytes.count
        write(&bytes)
        slots.append(Slot(typeID: typeID, offset: offset, count: bytes.count - offset))
    }

    /// The types in order.
    var typeIDs: [PostgresTypeID] { slots.map(\.typeID) }

    /// The server's limit for one message; libpq would only say "out of memory".
    static let largestByteCount = 1 << 30
}
