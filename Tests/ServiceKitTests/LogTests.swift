import Foundation
import Logging
import ServiceKit
import Testing

/// What a logger writes to a file.
private func written(
    _ format: LogFormat, level: Logger.Level = .trace, _ body: (Logger, LogOutput) -> Void
) throws -> String {
    let folder = try TemporaryFolder()
    let path = try folder.file("log", "")
    let file = try #require(FileHandle(forWritingAtPath: path))
    let output = LogOutput(format: format, level: level, descriptor: file.fileDescriptor)
    body(Logger(label: "ingest") { LineLogHandler(label: $0, output: output) }, output)
    try file.close()
    return try TextFile.read(path, limit: 1 << 20)
}

@Suite struct LogTests {
    private static let nasty = "q\" b\\ \n\r\t \u{0} \u{1b}[31m \u{7f} \u{85} \u{2028} \u{202e} é 🙂"

    @Test func `JSON lines are valid whatever is logged`() throws {
        let text = try written(.json) { logger, _ in
            logger.info(
                "\(Self.nasty)",
                metadata: [
                    "text": "\(Self.nasty)", "number": .stringConvertible(42),
                    "flag": .stringConvertible(true), "rate": .stringConvertible(0.5),
                    "nan": .stringConvertible(Double.nan), "list": ["a", "b"],
                    "map": ["k\"": "v"], "message": "not the message",
                ])
        }
        #expect(text.split(separator: "\n").count == 1 && text.hasSuffix("\n"))
        #expect(!text.dropLast().unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x1b })
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        #expect(object["message"] as? String == Self.nasty)
        #expect(object["text"] as? String == Self.nasty)
        #expect(object["number"] as? Int == 42)
        #expect(object["flag"] as? Bool == true)
        #expect(object["rate"] as? Double == 0.5)
        #expect(object["nan"] as? String == "nan")
        #expect(object["list"] as? [String] == ["a", "b"])
        #expect(object["map"] as? [String: String] == ["k\"": "v"])
        #expect(object["metadata.message"] as? String == "not the message")
        #expect(object["level"] as? String == "info")
        #expect(object["logger"] as? String == "ingest")
        let stamp = try #require(object["ts"] as? String)
        #expect(stamp.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/) != nil)
        let formatter = ISO8601DateFormatter()
        formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
        let date = try #require(formatter.date(from: stamp))
        #expect(abs(date.timeIntervalSinceNow) < 3600)
    }

    @Test func `text lines cannot be forged or recoloured`() throws {
        let text = try written(.text) { logger, _ in
            logger.error(
                "bad\n2026-01-01T00:00:00.000Z info forged: \u{1b}[2J",
                metadata: ["who": "a b", "x": "1", "quote": "say \"hi\"", "empty": ""])
        }
        #expect(text.split(separator: "\n").count == 1)
        #expect(
            text.dropFirst(24) == " error    ingest: bad\\n2026-01-01T00:00:00.000Z info forged:"
                + " \\u{1b}[2J empty=\"\" quote=\"say \\\"hi\\\"\" who=\"a b\" x=1\n")
    }

    @Test func `an error that is passed along becomes a field`() throws {
        let text = try written(.json) { logger, _ in
            logger.error("failed", error: ProgramFailure(.failure, "no \"disk\""))
        }
        #expect(text.contains("\"error\":\"no \\\"disk\\\"\""))
    }

    @Test func `a level that changes while running holds for loggers made before`() throws {
        let text = try written(.text, level: .warning) { logger, output in
            logger.info("one")
            output.level = .info
            logger.info("two")
        }
        #expect(!text.contains("one") && text.contains("two"))
    }

    @Test func `a huge value is cut and says so`() throws {
        let text = try written(.json) { logger, _ in
            logger.info("\(String(repeating: "é", count: 100_000))")
        }
        #expect(text.utf8.count < 10_000)
        #expect(text.contains("... (200000 bytes)"))
        #expect((try? JSONSerialization.jsonObject(with: Data(text.utf8))) != nil)
    }

    @Test func `lines that nobody takes are counted`() {
        let output = LogOutput(format: .text, descriptor: -1)
        let logger = Logger(label: "x") { LineLogHandler(label: $0, output: output) }
        logger.info("gone")
        #expect(output.lostLineCount == 1)
    }
}
