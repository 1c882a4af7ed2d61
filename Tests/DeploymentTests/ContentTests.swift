import Foundation
import TestKit
import Testing

@testable import Deployment

@Suite struct ContentTests {
    // FIPS 180-4's examples, and lengths around a block's end, as sha256sum has them.
    @Test(arguments: [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
    ])
    func `digests are SHA-256`(text: String, hex: String) {
        #expect(ContentDigest(text).hex == hex)
    }

    @Test func `digests are those of sha256sum, for any length`() throws {
        for count in [1, 55, 56, 63, 64, 65, 119, 120, 1000] {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            var command = ChildCommand("sha256sum", [], timeout: .seconds(60))
            command.input = .bytes(bytes)
            let text = try command.run().text
            #expect(text.hasPrefix(ContentDigest(bytes).hex), "\(count) bytes")
        }
    }

    @Test func `tar unpacks what the archive holds`() throws {
        try withTemporaryFolder { folder in
            let files = [
                RenderedFile("a/b/c", "content\n", mode: 0o600),
                RenderedFile("a/empty", "", mode: 0o644),
                RenderedFile(
                    "\(String(repeating: "d", count: 60))/\(String(repeating: "e", count: 70))",
                    "long"),
            ]
            var command = ChildCommand(
                "tar", ["-xpf", "-", "--no-same-owner", "-C", folder], timeout: .seconds(60))
            command.input = .bytes(
                TarArchive.bytes(files, folders: [RenderedFolder("a", mode: 0o700, owner: 0)]))
            let result = try command.run()
            #expect(result.status == 0, "\(result.errorText)")
            for file in files {
                let data = FileManager.default.contents(atPath: "\(folder)/\(file.path)")
                #expect(data.map(Array.init) == file.content)
            }
            let attributes = try FileManager.default.attributesOfItem(atPath: "\(folder)/a")
            #expect(attributes[.posixPermissions] as? Int == 0o700)
        }
    }

    @Test func `settings are read as compose reads them`() {
        let settings = SettingsFile(
            "# comment\n\nA=1\r\n B = two words \nC='x y'\nD=\nE=a=b\n9=x\nword\n", name: "s.env")
        #expect(
            settings.values == ["A": "1", "B": "two words", "C": "x y", "D": "", "E": "a=b"])
        #expect(settings.problems.map { String($0.prefix(8)) } == ["s.env:8:", "s.env:9:"])
    }

    @Test func `what is written as settings is read as the same`() {
        let values = ["A": "it's $HOME", "B": "", "C": "a b=c"]
        let text = SettingsFile.text(values)
        #expect(text == "A='it\\'s $HOME'\nB=''\nC='a b=c'\n")
    }

    @Test(arguments: ["/", "/opt", "opt/qoe", "/opt/../etc", "/opt/a b", "/opt/$x", "/opt/./x"])
    func `no folder of the system is taken for the installation's`(path: String) {
        #expect(RemoteFolder(path) == nil)
    }
}
