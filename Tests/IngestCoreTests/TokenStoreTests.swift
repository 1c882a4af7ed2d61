import Foundation
@testable import IngestCore
import TestKit
import Testing

/// What a store says of tokens, without a server.
@Suite struct TokenStoreTests {
    private let now = Date(timeIntervalSince1970: 1_800_000_000)

    @Test func `a good token is known, and nothing that differs from it`() throws {
        try withTemporaryFolder { folder in
            let files = TokenFiles(tokens: "\(folder)/tokens")
            let token = try TokenFile.create(name: "a", clients: ["*"], in: files.tokens)
            let other = try TokenFile.create(name: "b", clients: ["*"], in: files.tokens)
            let store = try TokenStore(files)
            #expect(store.entry(of: token, at: now)?.name == "a")
            #expect(store.entry(of: "x\(token)".dropFirst(), at: now)?.name == "a")
            for index in token.indices {
                var changed = token
                changed.replaceSubrange(index...index, with: changed[index] == "0" ? "1" : "0")
                #expect(store.entry(of: changed, at: now) == nil)
            }
            #expect(store.entry(of: token.prefix(21) + other.dropFirst(21), at: now) == nil)
            for text in ["", "qoe", "\(token)0", String(token.dropLast()), token.uppercased()] {
                #expect(store.entry(of: text, at: now) == nil)
            }
            // In the storage of another kind of text, too.
            #expect(store.entry(of: (token as NSString) as String, at: now)?.name == "a")
        }
    }

    @Test func `a token ends at its end`() throws {
        try withTemporaryFolder { folder in
            let files = TokenFiles(tokens: "\(folder)/tokens")
            let token = try TokenFile.create(
                name: "a", clients: ["*"], expires: now, in: files.tokens)
            let store = try TokenStore(files)
            let proof = try #require(store.proof(of: token, at: now - 1))
            #expect(store.stillHolds(proof, at: now - 1))
            #expect(!store.stillHolds(proof, at: now))
            #expect(store.entry(of: token, at: now) == nil)
        }
    }

    @Test func `a rotated token has two secrets until the overlap ends`() throws {
        try withTemporaryFolder { folder in
            let files = TokenFiles(tokens: "\(folder)/tokens")
            let old = try TokenFile.create(name: "a", clients: ["*"], in: files.tokens)
            let (new, entry) = try TokenFile.rotate(
                old, overlap: .seconds(60), at: now, in: files.tokens)
            #expect(new.prefix(21) == old.prefix(21) && new != old)
            #expect(entry.overlapEnd(at: now) == now + 60)
            let store = try TokenStore(files)
            let proof = try #require(store.proof(of: old, at: now))
            for token in [old, new] { #expect(store.entry(of: token, at: now + 59) != nil) }
            #expect(store.stillHolds(proof, at: now + 59))
            #expect(store.entry(of: old, at: now + 60) == nil)
            #expect(!store.stillHolds(proof, at: now + 60))
            #expect(store.entry(of: new, at: now + 60) != nil)

            let error = #expect(throws: TokenFileError.self) {
                try TokenFile.rotate(old, overlap: .seconds(60), at: now + 59, in: files.tokens)
            }
            #expect(error?.description.contains("--force") == true)
            try store.reload(files)
            #expect(store.entry(of: new, at: now) != nil, "a refusal changes nothing")

            let (newest, _) = try TokenFile.rotate(
                old, overlap: .seconds(60), endsOldest: true, at: now + 1, in: files.tokens)
            try store.reload(files)
            #expect(store.entry(of: old, at: now + 1) == nil)
            for token in [new, newest] { #expect(store.entry(of: token, at: now + 1) != nil) }
            let (last, _) = try TokenFile.rotate(
                old, overlap: .zero, at: now + 61, in: files.tokens)
            try store.reload(files)
            for token in [old, new, newest] {
                #expect(store.entry(of: token, at: now + 61) == nil)
            }
            #expect(store.entry(of: last, at: now + 61) != nil)
        }
    }

    @Test func `a rotation does not let the old secret outlive its token`() throws {
        try withTemporaryFolder { folder in
            let files = TokenFiles(tokens: "\(folder)/tokens")
            let old = try TokenFile.create(
                name: "a", clients: ["*"], expires: now + 10, in: files.tokens)
            let (new, entry) = try TokenFile.rotate(
                old, overlap: .seconds(60), expires: now + 1000, at: now, in: files.tokens)
            #expect(entry.expires == now + 1000)
            let store = try TokenStore(files)
            #expect(store.entry(of: old, at: now + 9) != nil)
            #expect(store.entry(of: old, at: now + 10) == nil)
            #expect(store.entry(of: new, at: now + 999) != nil)
            #expect(throws: TokenFileError.self) {
                try TokenFile.rotate(old, overlap: .zero, at: now + 1000, in: files.tokens)
            }
        }
    }

    @Test func `a proof ends with the next reading`() throws {
        try withTemporaryFolder { folder in
            let files = TokenFiles(tokens: "\(folder)/tokens")
            let token = try TokenFile.create(name: "a", clients: ["*"], in: files.tokens)
            let store = try TokenStore(files)
            let proof = try #require(store.proof(of: token, at: now))
            #expect(store.stillHolds(proof, at: now))
            try TokenFile.revoke(token, in: files.tokens)
            #expect(store.stillHolds(proof, at: now))
            try store.reload(files)
            #expect(!store.stillHolds(proof, at: now))
            #expect(store.count == 0)
        }
    }
}

extension TokenStore {
    func entry(of text: some StringProtocol, at moment: Date) -> TokenEntry? {
        proof(of: text, at: moment)?.entry
    }

    func proof(of text: some StringProtocol, at moment: Date) -> Proof? {
        Array(text.utf8).withUnsafeBytes { proof(of: $0, at: moment) }
    }
}
