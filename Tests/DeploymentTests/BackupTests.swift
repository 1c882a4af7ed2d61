import Deployment
import Testing

@Suite struct BackupTests {
    private static let empty = ContentDigest("")

    /// The test vectors of FIPS 180-2, appendix B.
    @Test(arguments: [
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ])
    func `a digest is SHA-256, in one piece or several`(text: String, hex: String) {
        #expect(ContentDigest(text).hex == hex)
        var hasher = ContentHasher()
        for byte in text.utf8 { hasher.add([byte]) }
        let pieced = hasher.digest()
        #expect(pieced.hex == hex)
    }

    @Test func `a manifest is read as it was written`() throws {
        let manifest = BackupManifest([
            .init(path: "installation/secrets/with a blank", byteCount: 0, digest: Self.empty),
            .init(path: "database.dump", byteCount: 3, digest: ContentDigest("abc")),
        ])
        #expect(try BackupManifest(parsing: manifest.text) == manifest)
        #expect(manifest.entries.first?.path == "database.dump")
    }

    @Test(arguments: [
        "/etc/passwd", "../hosts", "installation/../../hosts", "installation//hosts", "./hosts",
        "installation/",
    ])
    func `a manifest names nothing outside of its folder`(path: String) {
        #expect(throws: MaterialError.self) {
            try BackupManifest(parsing: "\(Self.empty) 0 \(path)\n")
        }
    }

    @Test(arguments: [
        "abc 0 hosts", "\(ContentDigest("").hex) -1 hosts", "\(ContentDigest("").hex) 1",
    ])
    func `a manifest with a damaged line is refused by its number`(line: String) {
        #expect {
            try BackupManifest(parsing: "\(Self.empty) 0 hosts\n\(line)\n")
        } throws: {
            "\($0)".contains("line 2")
        }
    }

    private static let page = """
        {"server_id":"A","config":{"max_memory":1},"account_details":[
          {"name":"QOE","id":"QOE","stream_detail":[
            {"name":"TELEMETRY","state":{"messages":4},"config":{"name":"TELEMETRY","num_replicas":3,
              "subjects":["telemetry.events.0","telemetry.events.1"],"max_bytes":4096,
              "max_age":7200000000000,"storage":"file"}}]},
          {"name":"SYS","id":"SYS"}]}
        """

    @Test func `the streams are read from a node's monitoring page, and from the copy`() throws {
        let list = try StreamList(page: Array(Self.page.utf8))
        #expect(
            list.streams == [
                .init(
                    name: "TELEMETRY", subjects: ["telemetry.events.0", "telemetry.events.1"],
                    replicas: 3, maxBytes: 4096, maxAgeSeconds: 7200)
            ])
        #expect(try StreamList(json: list.json) == list)
        #expect(throws: MaterialError.self) { try StreamList(page: Array("404".utf8)) }
        #expect(throws: MaterialError.self) { try StreamList(json: Array("{}".utf8)) }
    }

    @Test func `a stream with another count of partitions is told, and fewer copies are not`() {
        func list(_ partitions: Int, replicas: Int) -> StreamList {
            StreamList([
                .init(
                    name: "TELEMETRY", subjects: (0..<partitions).map { "events.\($0)" },
                    replicas: replicas, maxBytes: 1, maxAgeSeconds: 0)
            ])
        }
        let before = list(8, replicas: 3)
        #expect(before.differences(list(8, replicas: 1)) == [])
        #expect(
            before.differences(list(4, replicas: 3)) == ["TELEMETRY has subjects 4 instead of 8"])
        #expect(before.differences(StreamList([])) == ["TELEMETRY is not there"])
    }
}
