import Foundation
@testable import IngestCore
import TestKit
import Testing

/// The watch over the files, looked through by hand.
@Suite struct FileWatchTests {
    /// A store with one token, and what its watch tells.
    private final class Watched {
        let files: TokenFiles
        let token: String
        let store: TokenStore
        private(set) var loadCount = 0
        private(set) var errors: [TokenFileError] = []
        private var watch: FileWatch<TokenStore>?

        init(_ folder: String) throws {
            files = TokenFiles(tokens: "\(folder)/tokens")
            token = try TokenFile.create(name: "first", clients: ["*"], in: files.tokens)
            store = try TokenStore(files)
            watch = FileWatch(store) { [unowned self] outcome in
                switch outcome {
                case .loaded: loadCount += 1
                case .refused(let error): errors.append(error)
                }
            }
        }

        func look(times count: Int = 1) {
            for _ in 0..<count { watch?.look() }
        }

        func content() throws -> String {
            try String(contentsOfFile: files.tokens, encoding: .utf8)
        }

        /// Writes into the file that is there, as an editor does that does not rename.
        func rewrite(_ text: String) throws {
            let inode = try attribute(.systemFileNumber)
            try text.write(toFile: files.tokens, atomically: false, encoding: .utf8)
            #expect(try attribute(.systemFileNumber) == inode)
        }

        private func attribute(_ key: FileAttributeKey) throws -> Int? {
            try FileManager.default.attributesOfItem(atPath: files.tokens)[key] as? Int
        }
    }

    @Test func `files that stay as they are are not read again`() throws {
        try withTemporaryFolder { folder in
            let watched = try Watched(folder)
            watched.look(times: 10)
            #expect(watched.loadCount == 0)
        }
    }

    @Test func `a replaced and a rewritten file are read at the second look`() throws {
        try withTemporaryFolder { folder in
            let watched = try Watched(folder)
            let first = try watched.content()
            let second = try TokenFile.create(name: "b", clients: ["*"], in: watched.files.tokens)
            watched.look()
            #expect(watched.store.count == 1)
            watched.look()
            #expect(watched.store.entry(of: second, at: .now) != nil)
            watched.look(times: 10)
            #expect(watched.loadCount == 1)

            try watched.rewrite(first)
            watched.look(times: 2)
            #expect(watched.store.entry(of: second, at: .now) == nil)
            #expect(watched.store.entry(of: watched.token, at: .now) != nil)
            #expect(watched.loadCount == 2)
        }
    }

    @Test func `a half-written file keeps the old tokens, and is told of once`() throws {
        try withTemporaryFolder { folder in
            let watched = try Watched(folder)
            _ = try TokenFile.create(name: "b", clients: ["*"], in: watched.files.tokens)
            let whole = try watched.content()
            try watched.rewrite(String(whole.dropLast(40)))
            watched.look(times: 100)
            #expect(watched.errors.count == 1)
            #expect(watched.store.entry(of: watched.token, at: .now) != nil)
            try watched.rewrite(String(whole.dropLast(41)))
            watched.look(times: 2)
            #expect(watched.errors.count == 2, "another bad version")
            try FileManager.default.removeItem(atPath: watched.files.tokens)
            watched.look(times: 2)
            #expect(watched.errors.count == 3)
            #expect(watched.store.entry(of: watched.token, at: .now) != nil)
            #expect(watched.loadCount == 0)
            try whole.write(toFile: watched.files.tokens, atomically: true, encoding: .utf8)
            watched.look(times: 2)
            #expect(watched.store.count == 2)
        }
    }

    @Test func `a file that is being written is waited for, but not for ever`() throws {
        try withTemporaryFolder { folder in
            let watched = try Watched(folder)
            let whole = try watched.content()
            // Cut at a line's end, which is a good file without tokens.
            try watched.rewrite("")
            watched.look()
            try watched.rewrite(whole)
            watched.look(times: 2)
            #expect(watched.store.entry(of: watched.token, at: .now) != nil)
            #expect(watched.loadCount == 1)

            for count in 1...3 {
                try watched.rewrite(String(repeating: "\n", count: count))
                watched.look()
            }
            #expect(watched.store.entry(of: watched.token, at: .now) == nil)
        }
    }

    @Test func `a changed pepper is noticed`() throws {
        try withTemporaryFolder { folder in
            let watched = try Watched(folder)
            let pepper = try String(contentsOfFile: watched.files.pepper, encoding: .utf8)
            try String(repeating: "0", count: 64)
                .write(toFile: watched.files.pepper, atomically: true, encoding: .utf8)
            watched.look(times: 2)
            #expect(watched.errors.first?.description.contains("another pepper") == true)
            #expect(watched.store.entry(of: watched.token, at: .now) != nil)
            try pepper.write(toFile: watched.files.pepper, atomically: true, encoding: .utf8)
            watched.look(times: 2)
            #expect(watched.loadCount == 1)
        }
    }

    @Test func `a revocation takes no longer than is promised`() {
        #expect(FileWatch<TokenStore>.delayMax < .seconds(5))
    }
}
