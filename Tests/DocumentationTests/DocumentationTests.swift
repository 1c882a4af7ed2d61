import Foundation
import Postgres
import Store
import TestKit
import Testing

/// The repository that these tests were built from.
private let repository = URL(filePath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

private let catalogue = "\(repository)/docs/sql.md"

private func documents() throws -> [SQLDocument] {
    let folder = "\(repository)/docs"
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    let paths = names.filter { $0.hasSuffix(".md") }.map { "\(folder)/\($0)" }
    return try ([repository + "/README.md"] + paths).map { try SQLDocument(path: $0) }
}

private let fleet = PostgresTemplate { url in
    let connection = try PostgresConnection(to: PostgresConnectionString(url))
    defer { connection.close() }
    _ = try Schema().migrate(connection)
    // Roles are the cluster's, which all tests share.
    try connection.execute("GRANT qoe_reader TO CURRENT_USER")
    let minute = Int64(Date().timeIntervalSince1970) / 60 * 60_000
    try ExampleFleet(now: minute).write(to: url)
}

/// What psql has to say to `sql`, and whether it was an error.
private func psql(_ sql: String, _ url: String, settings: [String] = []) throws -> (
    text: String, status: Int32
) {
    let options = (["timezone=UTC"] + settings).map { "-c \($0)" }.joined(separator: " ")
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--command=\(sql)", url]
    process.environment = ProcessInfo.processInfo.environment.merging([
        "PGOPTIONS": options, "PAGER": "", "LC_ALL": "C.UTF-8",
    ]) { $1 }
    let pipe = Pipe()
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return (String(decoding: output, as: UTF8.self), process.terminationStatus)
}

/// The table that psql printed without its last line, which counts the rows; nil when it printed none.
private func table(_ text: String) -> (lines: [Substring], rows: Int)? {
    var lines = text.split(separator: "\n")
    guard let last = lines.popLast(), last.hasPrefix("("),
        last.hasSuffix("rows)") || last.hasSuffix("row)"),
        let rows = Int(last.dropFirst().prefix { $0.isNumber })
    else { return nil }
    return (lines.map { $0.trimmingSuffix { $0 == " " } }, rows)
}

extension Substring {
    fileprivate func trimmingSuffix(while isTrimmed: (Character) -> Bool) -> Substring {
        var text = self
        while let last = text.last, isTrimmed(last) { text.removeLast() }
        return text
    }
}

/// The queries of the documents, asked about a fleet that is made for it.
@Suite struct DocumentationTests {
    /// Set by `make document-sql`: outputs in docs/sql.md are replaced by what comes.
    private var isRewriting: Bool {
        ProcessInfo.processInfo.environment["QOE_DOCUMENT_SQL"] == "1"
    }

    @Test func `every question of the documents can be asked and has the columns that are shown`()
        throws
    {
        try withPostgres(template: fleet) { url in
            for document in try documents() {
                var outputs: [Int: [Substring]] = [:]
                for block in document.blocks where block.fence == .reader {
                    let place = Comment(rawValue: "\(document.path):\(block.line)")
                    let answer = try psql(block.sql, url, settings: ["role=qoe_reader"])
                    #expect(answer.status == 0, "\(place): \(answer.text)")
                    guard let made = table(answer.text) else { continue }
                    outputs[block.line] = made.lines
                    if document.path == catalogue { #expect(made.rows > 0, place) }
                    guard let output = block.output, !isRewriting else { continue }
                    #expect(
                        SQLDocument.headings(document.lines[output])
                            == SQLDocument.headings(made.lines), place)
                }
                if isRewriting, document.path == catalogue { try document.rewrite(with: outputs) }
            }
        }
    }

    @Test func `what an administrator is told to do works`() throws {
        try withPostgres(template: fleet) { url in
            for document in try documents() {
                for block in document.blocks where block.fence == .administrator {
                    let answer = try psql("BEGIN; \(block.sql); ROLLBACK", url)
                    #expect(answer.status == 0, "\(document.path):\(block.line): \(answer.text)")
                }
            }
        }
    }

    @Test func `the catalogue has twenty questions, each with its answer`() throws {
        let document = try SQLDocument(path: catalogue)
        let questions = document.lines.filter { $0.hasPrefix("### ") }
        #expect(questions.count >= 20)
        let unanswered = document.blocks.filter { $0.fence == .reader && $0.output == nil }
        #expect(unanswered.map(\.line) == [])
    }

    @Test func `the catalogue names every table, view and function`() throws {
        let text = try String(contentsOfFile: catalogue, encoding: .utf8)
        try withPostgres(template: fleet) { url in
            let answer = try psql(
                """
                SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v') AND NOT relispartition
                    AND relnamespace = 'public'::regnamespace
                UNION SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
                UNION SELECT attname FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid
                WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace
                    AND relname NOT LIKE 'probe\\_%' AND attnum > 0
                """, url)
            let names = try #require(table(answer.text)).lines.dropFirst(2)
                .map { $0.trimmingCharacters(in: .whitespaces) }
            #expect(names.count > 40)
            for name in names { #expect(text.contains(name), "\(name) is not in the catalogue") }
        }
    }
}
