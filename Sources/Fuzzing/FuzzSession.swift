internal import Blocks
internal import EventParsing
internal import Gzip
internal import Telemetry
internal import TestKit

/// Gives inputs to their targets, and checks what these make of them.
///
/// Serves one thread at a time.
package final class FuzzSession {
    /// Inputs given, and those (of their events, at least one) that were accepted.
    package private(set) var given: [FuzzTarget: Int] = [:]
    package private(set) var accepted: [FuzzTarget: Int] = [:]

    private let events = EventParser(eventCountMax: 50, eventBytesMax: 4000)
    private let heartbeats = HeartbeatParser()
    private let inflater = GzipInflater(outputByteCountMax: outputByteCountMax)
    private let rules = EventRules(nowMilliseconds: FuzzCorpus.nowMilliseconds)

    package init() {}

    /// Gives an input to its target.
    ///
    /// - Throws: What the target must not have made of it.
    package func run(_ input: FuzzInput) throws(FuzzFinding) {
        let isAccepted =
            switch input.target {
            case .events: try runEvents(input)
            case .heartbeats: try runHeartbeat(input)
            case .gzip: try runGzip(input)
            case .blocks: try runBlock(input)
            }
        given[input.target, default: 0] += 1
        if isAccepted { accepted[input.target, default: 0] += 1 }
    }

    private func runEvents(_ input: FuzzInput) throws(FuzzFinding) -> Bool {
        let found = read(input.bytes, as: input.choices % 2 == 0 ? .json : .lines)
        guard input.choices >> 1 & 15 == 0 else { return !found.isEmpty }
        // What was read of an event is all there is to it: written again, it is the same event.
        var random = SeededGenerator(seed: input.choices)
        for event in found {
            guard event.context.texts.allSatisfy({ $0.text.utf8.count <= 128 }) else {
                throw FuzzFinding(description: "a text is longer than its limit: \(event)")
            }
            guard read(Array(random.json(event).utf8), as: .json) == [event] else {
                throw FuzzFinding(description: "written and read again, it is another: \(event)")
            }
        }
        return !found.isEmpty
    }

    /// The good events of a body, as whoever reads the block of them sees them.
    private func read(_ bytes: [UInt8], as form: EventParser.Form) -> [Event] {
        withExactCopy(of: bytes, padding: EventParser.paddingByteCount) { storage in
            guard let body = try? events.parse(storage, byteCount: bytes.count, as: form) else {
                return []
            }
            var builder = BlockBuilder(partition: 0, producer: .zero, byteCountMax: 1 << 20)
            for index in 0..<body.eventCount {
                if let fields = try? events.event(index, rules: rules, mayPost: { !$0.isEmpty }) {
                    precondition(builder.append(fields), "50 events fit into 1 MiB")
                }
            }
            return builder.seal(blockNumber: 1).withUnsafeBytes { block in
                guard let reader = try? BlockReader(validating: block) else {
                    preconditionFailure("the reader of blocks refuses what the parser accepts")
                }
                return (0..<reader.eventCount).map { reader.event($0) }
            }
        }
    }

    private func runHeartbeat(_ input: FuzzInput) throws(FuzzFinding) -> Bool {
        guard let heartbeat = readHeartbeat(input.bytes) else { return false }
        guard readHeartbeat(HeartbeatParser.encode(heartbeat)) == heartbeat else {
            throw FuzzFinding(description: "written and read again, it is another: \(heartbeat)")
        }
        return true
    }

    private func readHeartbeat(_ bytes: [UInt8]) -> Heartbeat? {
        withExactCopy(of: bytes, padding: EventParser.paddingByteCount) { storage in
            try? heartbeats.parse(storage, byteCount: bytes.count, mayPost: { !$0.isEmpty })
        }
    }

    private struct Inflated: Equatable {
        var hash: UInt64 = 0
        var outputByteCount = 0
        var code: GzipInflater.Failure.Code?
    }

    private func runGzip(_ input: FuzzInput) throws(FuzzFinding) -> Bool {
        let whole = inflate([input.bytes])
        guard whole.outputByteCount <= outputByteCountMax else {
            throw FuzzFinding(description: "\(whole.outputByteCount) bytes came out")
        }
        let split = input.bytes.isEmpty ? 0 : Int(input.choices % UInt64(input.bytes.count))
        let halves = inflate([Array(input.bytes[..<split]), Array(input.bytes[split...])])
        guard whole == halves else {
            throw FuzzFinding(description: "split at \(split): \(halves), whole: \(whole)")
        }
        return whole.code == nil
    }

    private func inflate(_ parts: [[UInt8]]) -> Inflated {
        var result = Inflated()
        inflater.reset()
        do throws(GzipInflater.Failure) {
            for part in parts {
                let outcome = withExactCopy(of: part, padding: 0) { bytes in
                    Result { () throws(GzipInflater.Failure) in
                        try inflater.inflate(UnsafeRawBufferPointer(bytes)) { output in
                            result.hash = XXHash64.hash(output) &+ result.hash &* 31
                            result.outputByteCount += output.count
                        }
                    }
                }
                try outcome.get()
            }
            try inflater.finish()
        } catch {
            result.code = error.code
        }
        return result
    }

    private func runBlock(_ input: FuzzInput) throws(FuzzFinding) -> Bool {
        withExactCopy(of: input.bytes, padding: 0) { bytes in
            guard let reader = try? BlockReader(validating: UnsafeRawBufferPointer(bytes)) else {
                return false
            }
            for index in 0..<reader.eventCount { _ = reader.event(index) }
            return true
        }
    }
}

/// Above the free ratio and above what the corpus inflates to.
private let outputByteCountMax = 256 << 10

extension NetworkContext {
    fileprivate var texts: [Name] {
        [sourceIP, networkType, isp, region, resolver].compactMap { $0 }
    }
}

/// Calls `body` with memory that ends where the bytes and their padding do, so that a sanitizer sees every
/// step beyond.
private func withExactCopy<Result>(
    of bytes: [UInt8], padding: Int, _ body: (UnsafeMutableRawBufferPointer) -> Result
) -> Result {
    let copy = UnsafeMutableRawBufferPointer.allocate(
        byteCount: bytes.count + padding, alignment: 1)
    defer { copy.deallocate() }
    copy.copyBytes(from: bytes)
    return body(copy)
}
