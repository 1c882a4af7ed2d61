internal import FoundationEssentials
internal import Glibc

/// Runs `body` with a new empty folder, which is removed afterwards.
@discardableResult
package func withTemporaryFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
    let folder = try makeTemporaryFolder()
    defer { removeFolder(folder) }
    return try body(folder)
}

/// Runs `body` with a new empty folder, which is removed afterwards.
@discardableResult
package func withTemporaryFolder<Result>(
    _ body: (String) async throws -> Result
) async throws -> Result {
    let folder = try makeTemporaryFolder()
    defer { removeFolder(folder) }
    return try await body(folder)
}

private struct CannotMakeFolder: Error {
    let errno: Int32
}

/// Removes a folder and what is in it.
package func removeFolder(_ path: String) {
    try? FileManager.default.removeItem(atPath: path)
}

/// Makes a new empty folder that other accounts can pass.
package func makeTemporaryFolder() throws -> String {
    let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(parent)/qoe-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw CannotMakeFolder(errno: errno) }
    // PostgreSQL runs as another account and must be able to pass.
    chmod(template, 0o755)
    return template.withUnsafeBufferPointer { bytes in
        bytes.baseAddress.map { String(cString: $0) } ?? ""
    }
}
