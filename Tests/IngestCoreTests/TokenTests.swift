import Foundation
import IngestCore
import OwnedThreads
import ServiceKit
import TestKit
import Testing

@Suite(.serialized) struct TokenTests {
    @Test func `a token is listed without its secret, and revoked`() throws {
        try withTemporaryFolder { folder in
            let path = "\(folder)/tokens.jsonl"
            let first = try TokenFile.create(name: "a", clients: ["probe-1"], in: path)
            let second = try TokenFile.create(name: "b", clients: ["x-*", "y"], in: path)
            #expect(first != second)
            #expect(first.utf8.count == 85)
            let entries = try TokenFile.list(in: path)
            #expect(entries.map(\.name) == ["a", "b"])
            #expect(entries[1].scope.patterns == ["x-*", "y"])
            #expect(first.contains(entries[0].id))
            let text = try String(contentsOfFile: path, encoding: .utf8)
            let secret = try #require(first.split(separator: "_").last)
            #expect(!text.contains(secret))
            let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions]
            #expect(mode as? Int == 0o600)

            #expect(try TokenFile.revoke(entries[0].id, in: path).name == "a")
            #expect(try TokenFile.list(in: path).map(\.name) == ["b"])
            #expect(try TokenFile.revoke(second, in: path).name == "b", "a whole token will do")
            #expect(throws: TokenFileError.self) { try TokenFile.revoke("none", in: path) }
        }
    }

    @Test(arguments: [
        ("not json", "line 2 is no token: not JSON"), ("{}", "line 2 is no token: 'id' is missing"),
        (#"{"id":7}"#, "line 2 is no token: 'id' has another type"),
    ])
    func `a bad line is named`(_ line: String, _ problem: String) throws {
        try withTemporaryFolder { folder in
            let path = "\(folder)/tokens.jsonl"
            _ = try TokenFile.create(name: "a", clients: ["*"], in: path)
            let good = try String(contentsOfFile: path, encoding: .utf8)
            try (good + line + "\n").write(toFile: path, atomically: true, encoding: .utf8)
            let error = #expect(throws: TokenFileError.self) { try TokenFile.list(in: path) }
            #expect(error?.description == "tokens file \(path): \(problem)")
            try (good + good).write(toFile: path, atomically: true, encoding: .utf8)
            #expect(throws: TokenFileError.self) { try TokenFile.list(in: path) }
        }
    }

    @Test func `a line of an earlier version says what to do`() throws {
        try withTemporaryFolder { folder in
            let path = "\(folder)/tokens.jsonl"
            let zeros = String(repeating: "0", count: 64)
            let line = """
                {"clients":["*"],"created":"2026-01-31T12:00:00Z","id":"0123456789abcdef",\
                "name":"a","sha256":"\(zeros)"}
                """
            try line.write(toFile: path, atomically: true, encoding: .utf8)
            let error = #expect(throws: TokenFileError.self) { try TokenFile.list(in: path) }
            #expect(error?.description.contains("qoectl token create") == true)
            #expect(error?.description.contains(zeros) == false)
        }
    }

    @Test(arguments: [
        (#""role":"probe""#, #""role":"root""#, "must be probe, fleet-admin or read"),
        (#""role":"probe""#, #""role":"read""#, "'clients': are for the role probe only"),
        (
            #""role":"probe""#, #""role":"probe","events_per_second":0"#,
            "must be a whole number from 1"
        ),
        (#""role":"probe""#, #""role":"probe","bytes_per_second":1.5"#, "'bytes_per_second'"),
        (#""secrets":[{"#, #""secrets":[],"x":[{"#, "'secrets': must be from 1 to 2"),
        (#""hmac_sha256":""#, #""hmac_sha256":"0"#, "must be 64 hexadecimal digits"),
    ])
    func `a bad member is named`(_ part: String, _ bad: String, _ problem: String) throws {
        try withTemporaryFolder { folder in
            let path = "\(folder)/tokens.jsonl"
            _ = try TokenFile.create(name: "a", clients: ["*"], in: path)
            let good = try String(contentsOfFile: path, encoding: .utf8)
            let changed = good.replacingOccurrences(of: part, with: bad)
            #expect(changed != good)
            try changed.write(toFile: path, atomically: true, encoding: .utf8)
            let error = #expect(throws: TokenFileError.self) { try TokenFile.list(in: path) }
            #expect(error?.description.contains(problem) == true, "\(error?.description ?? "")")
        }
    }

    @Test func `roles and limits are kept`() throws {
        try withTemporaryFolder { folder in
            let path = "\(folder)/tokens.jsonl"
            _ = try TokenFile.create(
                name: "a", clients: ["*"], eventsPerSecondMax: 100, bytesPerSecondMax: 1 << 20,
                in: path)
            _ = try TokenFile.create(name: "b", role: .fleetAdmin, in: path)
            let entries = try TokenFile.list(in: path)
            #expect(entries.map(\.role) == [.probe, .fleetAdmin])
            #expect(entries.map(\.eventsPerSecondMax) == [100, nil])
            #expect(entries.map(\.bytesPerSecondMax) == [1 << 20, nil])
            #expect(entries[1].scope.patterns == [])
            #expect(![UInt8]().withUnsafeBytes { entries[1].scope.contains($0) })
            #expect(throws: TokenFileError.self) {
                try TokenFile.create(name: "c", role: .read, clients: ["*"], in: path)
            }
            #expect(throws: TokenFileError.self) {
                try TokenFile.create(name: "c", clients: ["*"], eventsPerSecondMax: 0, in: path)
            }
            #expect(try TokenFile.list(in: path).count == 2)
        }
    }

    @Test func `who could read the file can read it after a change`() throws {
        try withTemporaryFolder { folder in
            let path = "\(folder)/tokens.jsonl"
            let token = try TokenFile.create(name: "a", clients: ["*"], in: path)
            // Only root can give a file away.
            let owner: uid_t = geteuid() == 0 ? 12_345 : geteuid()
            try #require(chmod(path, 0o640) == 0 && chown(path, owner, getegid()) == 0)
            _ = try TokenFile.rotate(token, overlap: .zero, in: path)
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            #expect(attributes[.posixPermissions] as? Int == 0o640)
            #expect(attributes[.ownerAccountID] as? Int == Int(owner))
        }
    }

    @Test func `what is no id is not repeated in an error`() throws {
        try withTemporaryFolder { folder in
            let path = "\(folder)/tokens.jsonl"
            let token = try TokenFile.create(name: "a", clients: ["*"], in: path)
            let error = #expect(throws: TokenFileError.self) {
                try TokenFile.revoke("\(token)0", in: path)
            }
            #expect(error?.description.contains(token) == false)
        }
    }

    @Test func `many who change the file at once lose nothing`() throws {
        try withTemporaryFolder { folder in
            let path = "\(folder)/tokens.jsonl"
            let threads = (0..<4).map { index in
                OwnedThread(name: "create") {
                    for number in 0..<5 {
                        do {
                            _ = try TokenFile.create(
                                name: "\(index).\(number)", clients: ["*"], in: path)
                        } catch {
                            Issue.record(error)
                        }
                    }
                }
            }
            for thread in threads { thread.join() }
            #expect(Set(try TokenFile.list(in: path).map(\.name)).count == 20)
            let left = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
            #expect(left == ["tokens.jsonl", "tokens.jsonl.lock", "tokens.jsonl.pepper"])
        }
    }

    @Test(arguments: [[], [""], ["a*b"], ["**"]])
    func `a scope that means nothing is refused`(_ patterns: [String]) {
        #expect(throws: ClientScope.Problem.self) { try ClientScope(patterns) }
    }

    @Test func `a scope holds exact names and beginnings`() throws {
        let scope = try ClientScope(["probe-1", "office-*"])
        func holds(_ name: String) -> Bool {
            Array(name.utf8).withUnsafeBytes { scope.contains($0) }
        }
        #expect(holds("probe-1"))
        #expect(!holds("probe-10"))
        #expect(!holds("probe-"))
        #expect(holds("office-"))
        #expect(holds("office-7"))
        #expect(!holds("offic"))
        #expect(try ClientScope(["*"]).patterns == ["*"])
    }

    @Test func `missing, malformed, unknown, wrong and expired tokens get one answer`() async throws
    {
        try await withIngest { ingest in
            let expired = try TokenFile.create(
                name: "old", clients: ["*"], expires: Date.now - 1, in: ingest.tokensFile)
            try ingest.ingest.reloadTokens(from: ingest.tokenFiles)
            let parts = ingest.token.split(separator: "_")
            let zeros = String(repeating: "0", count: 64)
            let bad = [
                "", "x", "qoe_1_2", "\(ingest.token)0", "qoe_\(parts[1])_\(zeros)",
                "qoe_0000000000000000_\(parts[2])", expired, ingest.token.uppercased(),
            ]
            var bodies: Set<String> = []
            for token in bad {
                let response = try ingest.post(eventJSON(), token: token)
                #expect(response.status == 401)
                #expect(response.headers["www-authenticate"] == "Bearer")
                bodies.insert(response.body)
            }
            let none = try HTTPClient(port: ingest.port)
            try none.send("POST /events HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{}")
            bodies.insert(try none.response().body)
            #expect(bodies.count == 1, "\(bodies)")
            #expect(bodies.first?.contains(#""code":"unauthorized""#) == true)
            #expect(try ingest.post(eventJSON()).status == 202)
        }
    }

    @Test func `a foreign client is forbidden, alone in a batch`() async throws {
        try await withIngest { ingest in
            let token = try TokenFile.create(
                name: "one", clients: ["probe-001"], in: ingest.tokensFile)
            try ingest.ingest.reloadTokens(from: ingest.tokenFiles)
            let own = eventJSON()
            let foreign = eventJSON(client: "probe-0010")
            #expect(try ingest.post(own, token: token).status == 202)
            let single = try ingest.post(foreign, token: token)
            #expect(single.status == 403)
            #expect(single.body.contains(#""code":"forbidden""#))
            #expect(single.body.contains(#""field":"client_id""#))
            let mixed = try ingest.post("[\(own),\(foreign)]", token: token)
            #expect(mixed.status == 202)
            #expect(
                mixed.body.contains(#""accepted":1,"rejected":[{"index":1,"error":"forbidden""#))
            #expect(try ingest.post("[\(foreign),\(foreign)]", token: token).status == 403)
            let bad = eventJSON(dns: "-1")
            #expect(try ingest.post("[\(foreign),\(bad)]", token: token).status == 400)
            let heartbeat = #"{"client_id":"other","ts_ms":1}"#
            #expect(try ingest.post(heartbeat, to: "/heartbeats", token: token).status == 403)
            #expect(try ingest.storedEvents().count == 2)
        }
    }

    @Test func `a reload adds and removes tokens, and a bad file keeps the old ones`() async throws
    {
        try await withIngest { ingest in
            let second = try TokenFile.create(name: "b", clients: ["*"], in: ingest.tokensFile)
            #expect(try ingest.post(eventJSON(), token: second).status == 401)
            try ingest.ingest.reloadTokens(from: ingest.tokenFiles)
            #expect(try ingest.post(eventJSON(), token: second).status == 202)
            try TokenFile.revoke(second, in: ingest.tokensFile)
            try ingest.ingest.reloadTokens(from: ingest.tokenFiles)
            #expect(try ingest.post(eventJSON(), token: second).status == 401)
            try "broken".write(toFile: ingest.tokensFile, atomically: true, encoding: .utf8)
            #expect(throws: TokenFileError.self) {
                try ingest.ingest.reloadTokens(from: ingest.tokenFiles)
            }
            #expect(try ingest.post(eventJSON()).status == 202)
            #expect(ingest.metrics.render().contains("qoe_ingest_token_reload_failures_total 1"))
        }
    }

    @Test func `a token of another role may not post`() async throws {
        try await withIngest { ingest in
            for role in [TokenRole.fleetAdmin, .read] {
                let token = try TokenFile.create(name: "a", role: role, in: ingest.tokensFile)
                try ingest.ingest.reloadTokens(from: ingest.tokenFiles)
                for path in ["/events", "/heartbeats"] {
                    let response = try ingest.post(eventJSON(), to: path, token: token)
                    #expect(response.status == 403)
                    #expect(response.body.contains(#""code":"forbidden""#))
                    #expect(response.body.contains("a token with the role probe"))
                }
            }
            #expect(try ingest.storedEvents().isEmpty)
        }
    }

    @Test func `a running ingest knows and forgets tokens without a signal`() async throws {
        try await withIngest { ingest in
            let watch = Task { try await ingest.ingest.fileService().run() }
            let second = try TokenFile.create(name: "b", clients: ["*"], in: ingest.tokensFile)
            try #expect(eventually { try ingest.post(eventJSON(), token: second).status == 202 })
            let (rotated, _) = try TokenFile.rotate(
                second, overlap: .seconds(60), in: ingest.tokensFile)
            try #expect(eventually { try ingest.post(eventJSON(), token: rotated).status == 202 })
            #expect(try ingest.post(eventJSON(), token: second).status == 202)
            try TokenFile.revoke(second, in: ingest.tokensFile)
            try #expect(eventually { try ingest.post(eventJSON(), token: rotated).status == 401 })
            #expect(try ingest.post(eventJSON(), token: second).status == 401)

            let loaded = ingest.metrics.render()
            #expect(loaded.contains("qoe_ingest_token_reload_failures_total 0"))
            #expect(loaded.contains("qoe_ingest_tokens_loaded_timestamp_seconds 1"))
            try "{".write(toFile: ingest.tokensFile, atomically: false, encoding: .utf8)
            #expect(
                eventually {
                    ingest.metrics.render().contains("qoe_ingest_token_reload_failures_total 1")
                })
            #expect(try ingest.post(eventJSON()).status == 202)
            watch.cancel()
            try await watch.value
        }
    }
}

extension RunningIngest {
    fileprivate var tokenFiles: TokenFiles { TokenFiles(tokens: tokensFile) }
}
