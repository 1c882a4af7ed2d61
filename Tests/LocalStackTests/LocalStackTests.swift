import Foundation
import LocalStack
import OwnedThreads
import Postgres
import TestKit
import Testing

/// Where this build's executables lie: beside the test bundle.
private var programFolder: String {
    let bundle = CommandLine.arguments.first { $0.contains(".xctest") }
    let folder = bundle.map { URL(fileURLWithPath: $0.components(separatedBy: ".xctest")[0]) }
    let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    return folder?.deletingLastPathComponent().path ?? root.appending(path: ".build/debug").path
}

/// Runs a stack in `folder` on a thread that may block, while `body` looks at it.
private func withStack(
    in folder: String, _ body: @escaping @Sendable (LocalStack, LocalStack.Addresses) throws -> Void
) throws {
    let failure = Monitor<(any Error)?>(nil)
    let thread = OwnedThread(name: "stack") {
        do {
            var settings = LocalStack.Settings(programFolder: programFolder)
            settings.folder = StackFolder(folder)
            settings.intervalSeconds = 1
            let stack = try LocalStack(settings) { _ in }
            defer { stack.stop() }
            try body(stack, try stack.start())
        } catch {
            failure.update { $0 = error }
        }
    }
    thread.join()
    if let error = failure.withLock({ $0 }) { throw error }
}

/// One value that a query returns, as text.
private func value(_ sql: String, _ stack: LocalStack) throws -> String? {
    let connection = try PostgresConnection(
        to: PostgresConnectionString(try #require(stack.databaseURL)))
    defer { connection.close() }
    var row = try connection.query(sql).first
    return try row?.nextOptional(String.self)
}

private func expect(_ sql: String, becomes wanted: String, in stack: LocalStack) throws {
    var found: String?
    let didBecome = try eventually(within: .seconds(60)) {
        try stack.checkRunning()
        found = try value(sql, stack)
        return found == wanted
    }
    #expect(didBecome, "\(sql): \(found ?? "nothing") instead of \(wanted)")
}

/// How many events of a client have been counted.
private func countOf(_ client: String) -> String {
    "SELECT coalesce(sum(count_total), 0)::text FROM agg_1m WHERE client_id = '\(client)'"
}

@Test func `a stack measures, counts and diagnoses, and continues on its data`() throws {
    try withTemporaryFolder { folder in
        let before = Monitor(0)
        try withStack(in: "\(folder)/stack") { stack, addresses in
            try expect(
                "SELECT count(DISTINCT (client_id, target))::text FROM agg_1m", becomes: "15",
                in: stack)
            try expect(
                """
                SELECT string_agg(DISTINCT substring(target FROM '/[a-z]+') || ' '
                    || diagnosis_label, ', ' ORDER BY substring(target FROM '/[a-z]+') || ' '
                    || diagnosis_label)
                FROM agg_1m WHERE target !~ 'bytes'
                """,
                becomes: "/fail server-bound, /fast healthy, /slow server-bound", in: stack)
            try expect(
                "SELECT count(*)::text FROM probe_states WHERE state = 'online'", becomes: "3",
                in: stack)

            try post(addresses, client: "me")
            try expect(countOf("me"), becomes: "1", in: stack)
            #expect(try stack.drain(within: .seconds(30)) == [])
            let total = try #require(
                try value("SELECT sum(count_total)::text FROM agg_1m", stack))
            before.update { $0 = Int(total) ?? 0 }
        }
        try withStack(in: "\(folder)/stack") { stack, addresses in
            let kept = try #require(
                try value("SELECT sum(count_total)::text FROM agg_1m", stack))
            #expect((Int(kept) ?? 0) >= before.withLock { $0 })
            try post(addresses, client: "me")
            try expect(countOf("me"), becomes: "2", in: stack)
        }
    }
}

/// Posts one event as the printed `curl` command does; after a 503 the same again, as the answer asks for.
private func post(_ addresses: LocalStack.Addresses, client: String) throws {
    let event = """
        {"schema_version":1,"event_id":"\(UUID().uuidString)","client_id":"\(client)",\
        "target":"https://example.com","ts_ms":\(Int64(Date().timeIntervalSince1970 * 1000)),\
        "timing_measurements":{"dns_ms":15.3,"ttfb_ms":125.8}}
        """
    var status = ""
    _ = try eventually(within: .seconds(60)) {
        let curl = Process()
        curl.executableURL = URL(fileURLWithPath: "/usr/bin/curl")
        let output = Pipe()
        curl.standardOutput = output
        curl.arguments = [
            "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://\(addresses.api)/events",
            "-H", "Authorization: Bearer \(addresses.token)",
            "-H", "Content-Type: application/json", "-d", event,
        ]
        try curl.run()
        curl.waitUntilExit()
        status = String(
            decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        return status != "503"
    }
    #expect(status == "202")
}

@Test func `a folder serves one stack at a time, and a missing program is named`() throws {
    try withTemporaryFolder { folder in
        let path = "\(folder)/stack"
        var settings = LocalStack.Settings(programFolder: "\(folder)/nowhere")
        settings.folder = StackFolder(path)
        #expect {
            _ = try LocalStack(settings) { _ in }
        } throws: { error in
            "\(error)".contains("\(folder)/nowhere/ingest is missing")
        }
        settings.programFolder = programFolder
        let first = try LocalStack(settings) { _ in }
        #expect {
            _ = try LocalStack(settings) { _ in }
        } throws: { error in
            "\(error)".contains("another local stack is running on \(path)")
        }
        first.stop()
    }
}

@Test func `a data folder's path is shown without what says nothing`() {
    #expect(StackFolder("/x//a/./b/").path == "/x/a/b")
    #expect(StackFolder("./a/").path == FileManager.default.currentDirectoryPath + "/a")
}

@Test func `ingest serves without any privilege`() throws {
    try withTemporaryFolder { folder in
        try #require(
            try status(
                "\(programFolder)/qoectl", "token", "create", "--client", "*",
                "--tokens-file", "\(folder)/tokens.jsonl") == 0)
        let ingest = Process()
        ingest.executableURL = URL(fileURLWithPath: "/usr/bin/setpriv")
        // Root may set what others may not on a socket, unless it has lost that.
        ingest.arguments =
            (geteuid() == 0 ? ["--bounding-set", "-net_admin"] : []) + [
                "\(programFolder)/ingest", "--tokens-file", "\(folder)/tokens.jsonl",
                "--listen", "127.0.0.1:0", "--metrics-listen", "off",
                "--port-file", "\(folder)/ports",
            ]
        try ingest.run()
        defer {
            ingest.terminate()
            ingest.waitUntilExit()
        }
        var ports = ""
        let isListening = eventually(within: .seconds(30)) {
            ports = (try? String(contentsOfFile: "\(folder)/ports", encoding: .utf8)) ?? ""
            return ports.contains("\n") || !ingest.isRunning
        }
        try #require(isListening)
        let address = try #require(ports.split(whereSeparator: { "=\n".contains($0) }).last)
        #expect(try status("/usr/bin/curl", "-sS", "-f", "http://\(address)/health") == 0)
    }
}

/// The exit code of a program that says nothing of interest.
private func status(_ program: String, _ arguments: String...) throws -> Int32 {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    return process.terminationStatus
}
