import Foundation
@testable import IngestCore
import TestKit
import Testing

@Suite struct TokenPepperTests {
    /// RFC 4231, test cases 1 to 4, whose keys are as long as a pepper may not be: padded with zeros, which
    /// HMAC does itself with a key that is shorter than a block.
    @Test(arguments: [
        (
            String(repeating: "0b", count: 20), "4869205468657265",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        ),
        (
            "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        ),
        (
            String(repeating: "aa", count: 20), String(repeating: "dd", count: 50),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
        ),
        (
            "0102030405060708090a0b0c0d0e0f10111213141516171819",
            String(repeating: "cd", count: 50),
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"
        ),
    ])
    func `the hash is HMAC-SHA-256`(_ key: String, _ text: String, _ digest: String) throws {
        var key = try #require(Hexadecimal.bytes(of: key))
        key += [UInt8](repeating: 0, count: TokenPepper.byteCountMax - key.count)
        let pepper = try #require(TokenPepper(key))
        let bytes = try #require(Hexadecimal.bytes(of: text))
        #expect(bytes.withUnsafeBytes { pepper.digest(of: $0).hexadecimal } == digest)
    }

    @Test func `a pepper is made with the first token, for its owner alone`() throws {
        try withTemporaryFolder { folder in
            let files = TokenFiles(tokens: "\(folder)/tokens", pepper: "\(folder)/pepper")
            _ = try TokenFile.create(
                name: "a", clients: ["*"], in: files.tokens, pepper: files.pepper)
            let first = try String(contentsOfFile: files.pepper, encoding: .utf8)
            #expect(first.utf8.count == 65)
            let mode =
                try FileManager.default.attributesOfItem(atPath: files.pepper)[.posixPermissions]
            #expect(mode as? Int == 0o600)
            _ = try TokenFile.create(
                name: "b", clients: ["*"], in: files.tokens, pepper: files.pepper)
            #expect(try String(contentsOfFile: files.pepper, encoding: .utf8) == first)
            #expect(try TokenStore(files).count == 2)
        }
    }

    @Test(arguments: [
        (nil, "is not there"), ("", "64 to 128 lower-case hexadecimal digits"),
        (String(repeating: "0", count: 62), "64 to 128 lower-case hexadecimal digits"),
        (String(repeating: "0", count: 130), "64 to 128 lower-case hexadecimal digits"),
        (String(repeating: "x", count: 64), "64 to 128 lower-case hexadecimal digits"),
        (String(repeating: "0", count: 64), "was made with another pepper"),
    ])
    func `a pepper that is not the tokens' own stops the start`(
        _ text: String?, _ problem: String
    ) throws {
        try withTemporaryFolder { folder in
            let files = TokenFiles(tokens: "\(folder)/tokens")
            let token = try TokenFile.create(name: "a", clients: ["*"], in: files.tokens)
            let tokens = try String(contentsOfFile: files.tokens, encoding: .utf8)
            if let text {
                try text.write(toFile: files.pepper, atomically: true, encoding: .utf8)
            } else {
                try FileManager.default.removeItem(atPath: files.pepper)
            }
            let error = #expect(throws: TokenFileError.self) { try TokenStore(files) }
            #expect(error?.description.contains(problem) == true, "\(error?.description ?? "")")
            #expect(error?.description.contains("qoectl token create") == true || text != nil)
            // Nor is a pepper made that would suit none of the tokens.
            #expect(throws: TokenFileError.self) {
                try TokenFile.create(name: "b", clients: ["*"], in: files.tokens)
            }
            #expect(throws: TokenFileError.self) {
                try TokenFile.rotate(token, overlap: .zero, in: files.tokens)
            }
            #expect(try String(contentsOfFile: files.tokens, encoding: .utf8) == tokens)
        }
    }
}
