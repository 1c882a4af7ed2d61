import Postgres
import Testing
import TestKit

@Suite struct RoundTripTests {
    /// Sends each value, and NULL, and an array of all with a NULL in it; reads them back.
    private func check<Value: PostgresType & Equatable>(
        _ type: String, _ values: [Value]
    ) throws {
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            let echo = PostgresStatement("echo", "SELECT $1::\(type)")
            for value in values {
                var parameters = PostgresParameters()
                parameters.append(value)
                var row = try #require(try connection.query(echo, parameters).first)
                let read = try row.next(Value.self)
                #expect(read == value)
            }
            var null = PostgresParameters()
            null.append(Value?.none)
            var row = try #require(try connection.query(echo, null).first)
            #expect(try row.nextOptional(Value.self) == nil)

            let echoArray = PostgresStatement("echo_array", "SELECT $1::\(type)[]")
            for elements in [values.map(Optional.some) + [nil], [], [nil]] {
                var array = PostgresParameters()
                array.append(arrayOf: elements) { $0 }
                var row = try #require(try connection.query(echoArray, array).first)
                #expect(try row.nextOptionalSparseArray(of: Value.self) == elements)
            }
        }
    }

    @Test func `integers keep their extremes`() throws {
        try check("int2", [Int16.min, -1, 0, 1, .max])
        try check("int4", [Int32.min, -1, 0, 1, .max])
        try check("int8", [Int64.min, -1, 0, 1, .max])
    }

    @Test func `doubles keep every bit`() throws {
        let values = [
            0, -0.0, .infinity, -.infinity, .leastNonzeroMagnitude, .greatestFiniteMagnitude, 0.1,
        ]
        try check("float8", values)
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            var parameters = PostgresParameters()
            parameters.append(-0.0)
            parameters.append(Double.nan)
            var row = try #require(
                try connection.query("SELECT $1::float8, $2::float8", parameters).first)
            #expect(try row.next(Double.self).sign == .minus)
            #expect(try row.next(Double.self).isNaN)
        }
    }

    @Test func `booleans and bytes come back`() throws {
        try check("bool", [true, false])
        try check("bytea", [[], [0], [255, 0, 1], (0...255).map { UInt8($0) }])
    }

    @Test func `texts with quotes, commas, braces and beyond the basic plane come back`() throws {
        try check(
            "text",
            ["", "'", "\"", "{a,b}", "NULL", "\\", "new\nline", "ä", "a\u{308}", "東京", "🚀"])
    }

    @Test func `canonically equivalent texts stay different bytes`() throws {
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            var parameters = PostgresParameters()
            parameters.append("\u{E4}")
            parameters.append("a\u{308}")
            var row = try #require(
                try connection.query("SELECT $1::text = $2::text", parameters).first)
            #expect(try row.next(Bool.self) == false)
        }
    }

    @Test func `uuids, times and documents come back`() throws {
        try check(
            "uuid",
            [PostgresUUID(high: 0, low: 0), PostgresUUID(high: .max, low: .max - 1)])
        try check(
            "timestamptz",
            [
                .distantPast, .distantFuture, PostgresTimestamp(microseconds: 0),
                PostgresTimestamp(milliseconds: -1), PostgresTimestamp(milliseconds: 1 << 42),
            ])
        try check("jsonb", [PostgresJSON("{}"), PostgresJSON("{\"a\": [1, null, \"ü\"]}")])
    }

    @Test func `a time means the same to the server`() throws {
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            var parameters = PostgresParameters()
            parameters.append(PostgresTimestamp(milliseconds: 1_703_347_200_000))
            var row = try #require(
                try connection.query(
                    "SELECT $1::timestamptz = '2023-12-23 16:00:00+00'", parameters
                ).first)
            #expect(try row.next(Bool.self))
        }
    }

    @Test func `milliseconds round down on both sides of the epoch`() {
        #expect(PostgresTimestamp(microseconds: -1).milliseconds == -1)
        #expect(PostgresTimestamp(microseconds: -1_000).milliseconds == -1)
        #expect(PostgresTimestamp(microseconds: 1_999).milliseconds == 1)
        #expect(PostgresTimestamp(milliseconds: .max) == .distantFuture)
        #expect(PostgresTimestamp(milliseconds: .min) == .distantPast)
    }

    @Test func `records with ragged arrays come back`() throws {
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            try connection.execute("CREATE TYPE sample AS (name text, bins bigint[], n bigint)")
            let type = try connection.typeID(of: "sample")
            let samples: [(String, [Int64]?, Int64?)] = [
                ("a", [1, 2, 3], nil), ("b", nil, 7), ("c", [], .max),
            ]
            var parameters = PostgresParameters()
            parameters.append(records: samples.count, type: type) { index, record in
                let sample = samples[index]
                record.append(sample.0)
                record.append(array: sample.1)
                record.append(sample.2)
            }
            let result = try connection.query(
                "SELECT name, bins, n FROM unnest($1::sample[]) ORDER BY name", parameters)
            var read: [(String, [Int64]?, Int64?)] = []
            for var row in result.rows {
                read.append((try row.next(), try row.nextOptionalArray(), try row.nextOptional()))
            }
            #expect(read.map(\.0) == samples.map(\.0))
            #expect(read.map(\.1) == samples.map(\.1))
            #expect(read.map(\.2) == samples.map(\.2))
        }
    }

    @Test func `a value of another type, a NULL or a missing column is an error`() throws {
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            let result = try connection.query("SELECT 1::int4, NULL::int8, ARRAY[1, NULL]::int8[]")
            var row = try #require(result.first)
            let mismatch = #expect(throws: PostgresError.self) { try row.next(Int64.self) }
            #expect(mismatch?.code == .unexpectedResult)
            #expect(throws: PostgresError.self) { try row.next(Int64.self) }
            #expect(throws: PostgresError.self) { try row.nextArray(of: Int64.self) }
            #expect(throws: PostgresError.self) { try row.next(Int64.self) }
        }
    }
}
