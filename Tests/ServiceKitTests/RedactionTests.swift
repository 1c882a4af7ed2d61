import ServiceKit
import Testing

@Suite struct RedactionTests {
    @Test(arguments: [
        ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
        ("nats://user:secret@h:4222", "nats://user:***@h:4222"),
        ("nats://secret@h", "nats://***@h"),
        ("nats://user:se@cret@h", "nats://user:***@h"),
        ("nats://user:se/cret@h", "nats://user:***@h"),
        ("nats://user:secret", "nats://user:***"),
        ("secret@h", "***@h"),
        ("postgresql://qoe@h1:5432,h2:5432/t", "postgresql://qoe@h1:5432,h2:5432/t"),
        ("postgresql://qoe:secret@h1,h2/t?x=1", "postgresql://qoe:***@h1,h2/t?x=1"),
        ("postgresql:///t?user=a&password=secret&x=1", "postgresql:///t?user=a&password=***&x=1"),
        ("https://h/path@2?access_token=secret#f", "https://h/path@2?access_token=***"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("https://h/@someone", "https://h/@someone"),
    ])
    func `passwords in URLs are hidden and the rest stays`(url: String, shown: String) {
        #expect(Redaction.url(url) == shown)
    }
}
