package import Postgres

/// The rows of a query as text for people and for programs.
///
/// In all forms a time with a zone is `2026-11-21T06:26:00Z` and one without `2026-11-21T06:26:00`; other
/// values, times inside arrays among them, are as PostgreSQL writes them.
package enum QueryForms {
    /// Columns under each other and the number of rows, for a terminal: NULL is `NULL`, an empty text
    /// nothing, and what would control the terminal `U+FFFD`.
    package static func table(_ text: PostgresText) -> [String] {
        var table = TextTable(
            text.columns.map { column in
                (PayloadText.printable(column.name), column.typeID.isNumber ? .right : .left)
            })
        for row in text.rows {
            table.add(
                values(row, text.columns).map { $0.map { PayloadText.printable($0) } ?? "NULL" })
        }
        let count = text.rows.count
        return table.lines + ["(\(count) row\(count == 1 ? "" : "s"))"]
    }

    /// RFC 4180, with a line of names and lines that end with CR LF: NULL is nothing, an empty text `""`.
    package static func csv(_ text: PostgresText) -> String {
        var result = line(text.columns.map { $0.name })
        for row in text.rows { result += line(values(row, text.columns)) }
        return result
    }

    private static func line(_ values: [String?]) -> String {
        values.map { value in
            guard let value else { return "" }
            let isPlain =
                !value.isEmpty
                && value.utf8.allSatisfy { byte in
                    byte != UInt8(ascii: ",") && byte != UInt8(ascii: "\"")
                        && byte != UInt8(ascii: "\n") && byte != UInt8(ascii: "\r")
                }
            return isPlain ? value : "\"\(value.replacing("\"", with: "\"\""))\""
        }.joined(separator: ",") + "\r\n"
    }

    /// An array with an object per row: numbers as PostgreSQL writes them, whatever their size, truth values,
    /// `json` as it is, NULL as `null`, all others as texts; so are NaN and the infinities, which JSON does not
    /// have. A name that comes again gets its number: `count`, `count_2`.
    package static func json(_ text: PostgresText) -> String {
        let names = distinctNames(text.columns).map(quoted)
        let rows = text.rows.map { row in
            let members = zip(names, zip(text.columns, row)).map { name, value in
                "\(name):\(json(value.1, value.0.typeID))"
            }
            return "{\(members.joined(separator: ","))}"
        }
        return rows.isEmpty ? "[]\n" : "[\n" + rows.joined(separator: ",\n") + "\n]\n"
    }

    private static func distinctNames(_ columns: [PostgresText.Column]) -> [String] {
        var taken: Set<String> = []
        return columns.map { column in
            var name = column.name
            var number = 2
            while !taken.insert(name).inserted {
                name = "\(column.name)_\(number)"
                number += 1
            }
            return name
        }
    }

    private static func json(_ value: String?, _ typeID: PostgresTypeID) -> String {
        guard let value else { return "null" }
        if typeID.isNumber {
            let digits = value.hasPrefix("-") ? value.dropFirst() : value[...]
            return digits.first?.isNumber == true ? value : quoted(value)
        }
        if typeID.isBoolean { return value == "t" ? "true" : "false" }
        return typeID.isJSON ? value : quoted(typeID.standardTime(value))
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    private static func values(
        _ row: [String?], _ columns: [PostgresText.Column]
    ) -> [String?] {
        zip(row, columns).map { value, column in value.map { column.typeID.standardTime($0) } }
    }
}

/// The types that forms and plots tell apart, by the numbers of `pg_type`.
extension PostgresTypeID {
    /// `int2`, `int4`, `int8`, `oid`, `float4`, `float8`, `numeric`.
    var isNumber: Bool { [21, 23, 20, 26, 700, 701, 1700].contains(rawValue) }
    var isBoolean: Bool { rawValue == 16 }
    /// `json` and `jsonb`.
    var isJSON: Bool { rawValue == 114 || rawValue == 3802 }
    /// `timestamp`, `timestamptz` and `date`.
    var isTime: Bool { [1114, 1184, 1082].contains(rawValue) }

    /// A time as ISO 8601 has it; everything else as it is, also times before our era and the infinite ones.
    func standardTime(_ text: String) -> String {
        guard rawValue == 1114 || rawValue == 1184, text.first?.isNumber == true,
            !text.hasSuffix("BC")
        else { return text }
        let joined = text.replacing(" ", with: "T", maxReplacements: 1)
        return joined.hasSuffix("+00") ? joined.dropLast(3) + "Z" : joined
    }
}
