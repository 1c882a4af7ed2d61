internal import Blocks
internal import EventParsing
internal import Gzip
internal import Telemetry
internal import TestKit

/// Good inputs of each target, from which the bad ones are made.
package struct FuzzCorpus: Sendable {
    /// The server's clock while fuzzing; the events of the corpus are of this moment.
    static let nowMilliseconds: Int64 = 1_703_347_260_000

    private let seed: UInt64
    private let good: [FuzzTarget: [[UInt8]]]

    package init(seed: UInt64) {
        self.seed = seed
        var random = SeededGenerator(seed: seed)
        good = [
            .events: (0..<96).map { _ in random.goodBody() },
            .heartbeats: (0..<24).map { _ in Array(random.heartbeat().utf8) },
            .gzip: (0..<48).map { random.gzipBody(level: $0 % 10) },
            .blocks: (0..<48).map { _ in random.block() },
        ]
    }

    /// The input with `index`.
    package func input(_ index: UInt64) -> FuzzInput {
        // Neighbouring seeds of the generator are unrelated; those of two runs must not overlap.
        var mixing = SeededGenerator(seed: seed)
        var random = SeededGenerator(seed: mixing.next() &+ index &* 0xD134_2543_DE82_EF95)
        let target = FuzzTarget(index: index)
        let good = good[target] ?? []
        var bytes = random.mutated(good, words: target.words)
        switch target {
        case .blocks:
            // Mostly with the right checksum, so that the checks behind it are reached.
            if random.chance(80) { bytes = withChecksum(bytes) }
        case .gzip:
            if random.chance(10) { bytes = random.noiseBehind(bytes.prefix(10), longest: 200) }
        case .events, .heartbeats: break
        }
        return FuzzInput(target: target, bytes: bytes, choices: random.next())
    }

    private func withChecksum(_ block: [UInt8]) -> [UInt8] {
        guard block.count >= 8 else { return block }
        let body = Array(block.dropLast(8))
        let hash = XXHash64.hash(body.span.bytes)
        return body + (0..<8).map { UInt8(truncatingIfNeeded: hash >> (8 * $0)) }
    }
}

extension FuzzTarget {
    /// What is put into inputs, beside single bytes.
    fileprivate var words: [[UInt8]] {
        switch self {
        case .events, .heartbeats: jsonWords
        case .gzip: gzipWords
        case .blocks: blockWords
        }
    }
}

private let jsonWords: [[UInt8]] =
    [
        "{", "}", "[", "]", ":", ",", "\"", "\\", "\\u", "\\u0000", "\\ud83d", "\\ude80", "null",
        "true", "false", "1", "-", "-0", "1e400", "1e-400", "0.1", "9007199254740993",
        "99999999999999999999999999999999999999999", "1E+2", "[[[[[[[[", "]]]]]]]]", "{\"a\":",
        "\"client_id\":", "\"client\\u005fid\":\"a\",", "\"target\":\"a\",", "\"ts_ms\":1,",
        "\"network_context\":{", "\"timing_measurements\":{", "\"dns_ms\":", "\"isp\":\"",
        "\"labels\":{\"a\":\"b\"},", "\"capabilities\":[\"a\"],", "\"spool_depth\":1,",
        "e\u{301}", "\u{1100}\u{1161}\u{11A8}", "\u{2126}", "\u{FEFF}", "\u{1D160}", "\u{390}",
        String(repeating: "\u{315}\u{300}\u{5AE}", count: 20), "\u{202E}", "\u{85}", "\u{0}", "\n",
        "\r\n", " ",
    ].map { Array($0.utf8) } + [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xE2, 0x82]]

private let gzipWords: [[UInt8]] = [
    [0x1F, 0x8B], [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3], [0x1F, 0x8B, 8, 0x1F], [0, 0, 0xFF, 0xFF],
    [1, 0, 0, 0xFF, 0xFF], [3, 0], [0xFF, 0xFF, 0xFF, 0xFF], [0, 0, 0, 0, 0, 0, 0, 0],
]

private let blockWords: [[UInt8]] = [
    [0, 0, 0, 0], [0xFF, 0xFF, 0xFF, 0xFF], [1, 0, 0, 0], [0, 0, 0, 0x80],
    [0xFF, 0xFF, 0xFF, 0x7F],
    [0xC3, 0xA9], [0xED, 0xA0, 0x80], [0, 0, 0, 0, 0, 0, 0x20, 0],
]
