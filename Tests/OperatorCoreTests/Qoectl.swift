import Foundation
import TestKit
import Testing

/// How a command ended and what it said.
struct Outcome {
    let code: Int32
    let output: String
    let complaints: String

    /// The output as JSON.
    func object() throws -> [String: Any] {
        try #require(
            try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any])
    }
}

/// This build's qoectl: beside the test bundle.
enum Qoectl {
    private static var program: URL {
        let bundle = CommandLine.arguments.first { $0.contains(".xctest") }
        let folder = bundle.map {
            URL(fileURLWithPath: $0.components(separatedBy: ".xctest")[0])
                .deletingLastPathComponent()
        }
        let root = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        return (folder ?? root.appending(path: ".build/debug")).appending(path: "qoectl")
    }

    /// Runs a command until it ends.
    ///
    /// - Parameter meanwhile: Called with the running process.
    static func run(
        _ arguments: [String], environment: [String: String] = [:],
        meanwhile: (Process) throws -> Void = { _ in }
    ) throws -> Outcome {
        try withTemporaryFolder { folder in
            // Files, not pipes: nobody needs to empty them meanwhile.
            let files = ["out", "err"].map { URL(fileURLWithPath: "\(folder)/\($0)") }
            for file in files {
                _ = FileManager.default.createFile(atPath: file.path, contents: nil)
            }
            let process = Process()
            process.executableURL = program
            process.arguments = arguments
            process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
            process.standardInput = FileHandle.nullDevice
            process.standardOutput = try FileHandle(forWritingTo: files[0])
            process.standardError = try FileHandle(forWritingTo: files[1])
            try process.run()
            try meanwhile(process)
            process.waitUntilExit()
            return Outcome(
                code: process.terminationStatus,
                output: try String(contentsOf: files[0], encoding: .utf8),
                complaints: try String(contentsOf: files[1], encoding: .utf8))
        }
    }
}
