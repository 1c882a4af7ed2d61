internal import CLibPQ

/// The rows that one statement returned, in binary.
///
/// Owns libpq's memory and frees it at the end. Values are copied out when read.
@safe package final class PostgresResult {
    private let pointer: OpaquePointer
    private let statement: String?

    /// The number of rows.
    package let rowCount: Int
    /// The number of columns.
    package let columnCount: Int

    /// Takes ownership of `pointer`.
    init(adopting pointer: OpaquePointer, statement: String?) {
        unsafe self.pointer = unsafe pointer
        self.statement = statement
        rowCount = unsafe Int(PQntuples(pointer))
        columnCount = unsafe Int(PQnfields(pointer))
    }

    deinit {
        unsafe PQclear(pointer)
    }

    /// How many rows the statement returned or changed; 0 for statements that do neither.
    package var affectedRows: Int {
        unsafe Int(String(cString: PQcmdTuples(pointer))) ?? 0
    }

    /// The command tag, such as `COMMIT`.
    package var commandTag: String {
        unsafe String(cString: PQcmdStatus(pointer))
    }

    /// The rows in order; each reads its columns from left to right.
    package var rows: some Sequence<PostgresRow> {
        (0..<rowCount).lazy.map { PostgresRow(self, $0) }
    }

    /// The first row, if any.
    package var first: PostgresRow? {
        rowCount > 0 ? PostgresRow(self, 0) : nil
    }

    /// Reads one value with `read`; nil for NULL.
    func value<Value>(
        row: Int, column: Int, expecting: String, reads: (PostgresTypeID) -> Bool,
        _ read: (RawSpan) -> Value?
    ) throws(PostgresError) -> Value? {
        guard column < columnCount else {
            throw failure("there is no column \(column + 1)")
        }
        let (row, column) = (Int32(row), Int32(column))
        let typeID = unsafe PostgresTypeID(rawValue: PQftype(pointer, column))
        guard unsafe reads(typeID) && PQfformat(pointer, column) == 1 else {
            throw failure("column \(column + 1) has type \(typeID.rawValue), not \(expecting)")
        }
        guard unsafe PQgetisnull(pointer, row, column) == 0 else { return nil }
        let bytes = unsafe UnsafeRawBufferPointer(
            start: PQgetvalue(pointer, row, column), count: Int(PQgetlength(pointer, row, column)))
        guard let value = unsafe read(bytes.bytes) else {
            throw failure("column \(column + 1) is not a valid \(expecting)")
        }
        return value
    }

    func failure(_ message: String) -> PostgresError {
        PostgresError(.unexpectedResult, message, statement: statement)
    }
}
