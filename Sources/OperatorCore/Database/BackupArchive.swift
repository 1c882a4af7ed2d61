internal import Foundation
internal import Postgres

/// An archive that `pg_dump` wrote: what it holds says itself, without a database.
struct BackupArchive {
    let path: String
    let tool: PostgresTool
    let folder: ToolFolder
    let stop: StopRequest

    /// How many tables it has rows of, from its table of contents.
    ///
    /// - Throws: ``OperatorError`` when it is no archive, is damaged, or is not of our database.
    func tableCount() throws -> Int {
        let list = folder.file("list")
        try tool.run(["--list", "--file", list, path], in: folder, stop: stop)
        let text = try String(contentsOfFile: list, encoding: .utf8)
        let tables = text.split(separator: "\n").filter { $0.contains(" TABLE DATA ") }
        guard tables.contains(where: { $0.contains(" schema_migrations ") }) else {
            throw OperatorError("\(path) is no backup of this platform's database")
        }
        return tables.count
    }

    /// The newest migration that the archived database had run.
    func schemaVersion() throws -> Int32 {
        let versions = try rows(of: "schema_migrations").compactMap { $0["version"] }
            .compactMap { Int32($0) }
        guard let newest = versions.max() else {
            throw OperatorError("\(path) does not say which schema it has")
        }
        return newest
    }

    /// Roles that an archive names, and that must exist therefore: a server has them for all its databases.
    struct Roles: Equatable {
        /// Those that own something.
        var owners: Set<String> = []
        /// Those that are granted something.
        var grantees: Set<String> = []

        var all: Set<String> { owners.union(grantees) }
    }

    func roles() throws -> Roles {
        let script = folder.file("schema.sql")
        try tool.run(["--schema-only", "--file", script, path], in: folder, stop: stop)
        let text = try String(contentsOfFile: script, encoding: .utf8)
        var roles = Roles()
        // ALTER … OWNER TO a; GRANT … TO a; ALTER DEFAULT PRIVILEGES FOR ROLE a … GRANT … TO b;
        for line in text.split(separator: "\n")
        where line.hasPrefix("ALTER ") || line.hasPrefix("GRANT ") {
            if let name = name(after: " OWNER TO ", in: line) ?? name(after: " FOR ROLE ", in: line)
            {
                roles.owners.insert(name)
            }
            if line.contains("GRANT "), let name = name(after: " TO ", in: line), name != "PUBLIC" {
                roles.grantees.insert(name)
            }
        }
        return roles
    }

    private func name(after key: String, in line: Substring) -> String? {
        guard let place = line.range(of: key, options: .backwards) else { return nil }
        let name = line[place.upperBound...].prefix { $0 != ";" && $0 != " " }
        return String(name).replacing("\"", with: "")
    }

    /// The rows of a table by column, unescaped only as far as numbers and plain words need it.
    private func rows(of table: String) throws -> [[String: String]] {
        let script = folder.file("\(table).sql")
        try tool.run(
            ["--data-only", "--table", table, "--file", script, path], in: folder, stop: stop)
        let text = try String(contentsOfFile: script, encoding: .utf8)
        var columns: [String] = []
        var rows: [[String: String]] = []
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("COPY "), let open = line.firstIndex(of: "("),
                let close = line.lastIndex(of: ")"), open < close
            {
                columns = line[line.index(after: open)..<close].split(separator: ",")
                    .map { $0.trimmingCharacters(in: .whitespaces) }
            } else if line == "\\." {
                columns = []
            } else if !columns.isEmpty {
                let values = line.split(separator: "\t", omittingEmptySubsequences: false)
                rows.append(
                    Dictionary(
                        zip(columns, values.map(String.init)),
                        uniquingKeysWith: { first, _ in first }))
            }
        }
        return rows
    }
}
