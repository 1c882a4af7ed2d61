import ProbeCore
import Testing

@Suite struct HTTPURLTests {
    @Test(arguments: [
        ("http://example.com", "example.com", 80, "/", "example.com"),
        ("HTTPS://Example.COM/a?b=c#d", "example.com", 443, "/a?b=c", "example.com"),
        ("http://[2001:db8::1]:8080/x", "2001:db8::1", 8080, "/x", "[2001:db8::1]:8080"),
        ("https://192.0.2.1:443?q", "192.0.2.1", 443, "/?q", "192.0.2.1"),
        ("http://h:81/#frag", "h", 81, "/", "h:81"),
    ])
    func `an address is taken apart`(
        text: String, host: String, port: UInt16, requestTarget: String, authority: String
    ) throws {
        let url = try HTTPURL(text)
        #expect(url.host == host)
        #expect(url.port == port)
        #expect(url.requestTarget == requestTarget)
        #expect(url.authority == authority)
    }

    @Test(arguments: [
        "", "example.com", "ftp://example.com", "http://", "http://:80/", "http://a:0/",
        "http://a:65536/", "http://a:b/", "http://user:secret@example.com/", "http://a b/",
        "http://[::1", "http://[example.com]/", "http://a\r\nb/", "http://exämple.com/",
        "http://a\\b/",
    ])
    func `an unusable address is refused`(text: String) {
        #expect(throws: TargetRefusal.self) { try HTTPURL(text) }
    }

    @Test func `credentials are not repeated in the refusal`() throws {
        let refusal = #expect(throws: TargetRefusal.self) {
            try HTTPURL("http://user:secret@example.com/")
        }
        #expect(refusal?.description.contains("secret") == false)
    }
}
