import ProbeCore
import Testing

@Suite struct TransferTargetTests {
    private func method(_ text: String) throws -> Target.Method { try Target(text).method }

    @Test func `an http target has its expectations`() throws {
        let text =
            "https://a.example/ expect-status=200-299%2C404 expect-body=all%20well forbid-body=%F0%9F%92%A5"
            + " expect-header=X-Cache:%20HIT expect-certificate=14d family=ipv6"
        guard case .http(let target) = try method(text) else {
            Issue.record("not http")
            return
        }
        #expect(target.expectation.statuses == [200...299, 404...404])
        #expect(target.expectation.bodyText == "all well")
        #expect(target.expectation.bodyForbidden == "💥")
        #expect(target.expectation.field?.name == "x-cache")
        #expect(target.expectation.field?.value == "HIT")
        #expect(target.expectation.certificateValidity == .seconds(14 * 86_400))
        #expect(target.expectation.accepts(status: 404))
        #expect(!target.expectation.accepts(status: 301))
    }

    @Test func `without expectations a status below 400 is good`() throws {
        guard case .http(let target) = try method("http://a.example/") else {
            Issue.record("not http")
            return
        }
        #expect(target.expectation.accepts(status: 399))
        #expect(!target.expectation.accepts(status: 400))
    }

    @Test func `a transfer has its budget`() throws {
        let text = "upload+https://a.example/up max-time=2s max-bytes=1MiB connections=8"
        guard case .transfer(let target) = try method(text) else {
            Issue.record("not a transfer")
            return
        }
        #expect(target.direction == .upload)
        #expect(target.url.isSecure && target.url.requestTarget == "/up")
        #expect(target.budget.duration == .seconds(2))
        #expect(target.budget.bytesMax == 1 << 20)
        #expect(target.budget.connections == 8)
    }

    @Test func `a loaded target has a direction and something small`() throws {
        let text = "loaded+http://a.example/large direction=upload small=/s"
        guard case .loaded(let target) = try method(text) else {
            Issue.record("not loaded")
            return
        }
        #expect(target.direction == .upload)
        #expect(target.smallPath == "/s")
        #expect(target.budget.bytesMax == 1 << 30)
    }

    @Test(arguments: [
        ("http://a/ expect-status=", "expect-status"),
        ("http://a/ expect-status=99", "expect-status"),
        ("http://a/ expect-status=300-200", "expect-status"),
        ("http://a/ expect-status=200-", "expect-status"),
        ("http://a/ expect-body=", "expect-body"),
        ("http://a/ forbid-body=", "forbid-body"),
        ("http://a/ forbid-body=%ff", "percent-encoded"),
        ("http://a/ expect-header=:x", "expect-header"),
        ("http://a/ expect-header=a%20b:x", "expect-header"),
        ("http://a/ expect-certificate=14d", "expect-certificate"),
        ("https://a/ expect-certificate=soon", "expect-certificate"),
        ("http://a/ connections=4", "connections"),
        ("download+http://a/ connections=0", "connections"),
        ("download+http://a/ connections=33", "connections"),
        ("download+http://a/ max-bytes=1", "max-bytes"),
        ("download+http://a/ max-time=1h", "max-time"),
        ("download+ftp://a/", "scheme"),
        ("download+https://", "host"),
        ("upload+https://user:secret@a/", "credentials"),
        ("loaded+https://a/ small=x", "small"),
        ("loaded+https://a/ direction=both", "direction"),
    ])
    func `each mistake is told`(text: String, word: String) throws {
        let refusal = #expect(throws: TargetRefusal.self) { try Target(text) }
        let message = try #require(refusal).description
        #expect(message.contains(word), "\(message)")
        #expect(!message.contains("secret"))
    }
}
