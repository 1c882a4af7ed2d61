import ServiceKit
import Testing

@Suite struct UnitTextTests {
    @Test(arguments: [
        ("0s", Duration.zero, "0s"), ("500ms", .milliseconds(500), "500ms"),
        ("90s", .seconds(90), "90s"), ("120s", .seconds(120), "2m"),
        ("2h", .seconds(7200), "2h"), ("7d", .seconds(7 * 86_400), "7d"),
    ])
    func `durations are read and written`(text: String, duration: Duration, written: String) {
        #expect(UnitText.duration(text) == duration)
        #expect(UnitText.text(of: duration) == written)
    }

    @Test(arguments: ["", "5", "s", "-1s", "1.5s", "1 s", "1S", "٣s", "1s ", "99999999999999999d"])
    func `what is no duration is refused`(text: String) {
        #expect(UnitText.duration(text) == nil)
    }

    @Test(arguments: [
        ("0", 0), ("65536", 65536), ("64KiB", 65536), ("1GB", 1_000_000_000), ("2TiB", 2 << 40),
    ])
    func `sizes are read`(text: String, bytes: Int) {
        #expect(UnitText.byteCount(text) == bytes)
    }

    @Test(arguments: ["", "KiB", "-1", "1.5MiB", "9223372036854775807KiB", "1 MiB"])
    func `what is no size is refused`(text: String) {
        #expect(UnitText.byteCount(text) == nil)
    }

    @Test(arguments: [
        ("127.0.0.1:0", "127.0.0.1", 0), ("db-1.example:5432", "db-1.example", 5432),
        ("[::1]:65535", "::1", 65535), ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
    ])
    func `addresses are read and written back`(text: String, host: String, port: Int) throws {
        let address = try #require(NetworkAddress(text))
        #expect(address == NetworkAddress(host: host, port: port))
        #expect(address.description == text)
    }

    @Test(arguments: [
        "", ":", ":80", "h", "h:", "h:65536", "h:-1", "h:+1", "::1:80", "[]:1", "[h]:1", "h h:1",
        "http://h:80", "h:٣", "h:00000080",
    ])
    func `what is no address is refused`(text: String) {
        #expect(NetworkAddress(text) == nil)
    }
}
