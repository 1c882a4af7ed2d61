import ProbeCore
import Synchronization
import Telemetry
import TestKit
import Testing
import Transport

@Suite struct DNSMeterTests {
    private typealias Reply = ScriptedDatagrams.Reply

    private static let good = AnswerBuilder(records: [
        (1, 300, [192, 0, 2, 1]), (1, 60, [192, 0, 2, 2]),
    ])

    @Test func `a good answer has its time and what it says`() throws {
        let asked = Mutex<[[UInt8]]>([])
        let resolver = try ScriptedResolver { question in
            asked.withLock { $0.append(question) }
            return [Reply(bytes: Self.good.answer(question))]
        }
        let found = try measure("dns://\(resolver.address)/Example.com?type=A")
        #expect(found.failure == nil)
        #expect(found.metrics[.dns] != nil)
        for metric in Metric.allCases where metric != .dns {
            #expect(found.metrics[metric] == nil, "\(metric) was not measured")
        }
        #expect(found["rcode"] == .text("NOERROR"))
        #expect(found["answers"] == .integer(2))
        #expect(found["answer_addresses"] == .text("192.0.2.1 192.0.2.2"))
        #expect(found["ttl_min_s"] == .integer(60))
        #expect(found["carrier"] == .text("udp"))
        #expect(found["truncated_over_udp"] == .boolean(false))
        #expect(found["resolver"] == .text(resolver.address))
        #expect(found.remoteAddress == "127.0.0.1")
        #expect(found.sourceAddress == "127.0.0.1")
        #expect(asked.withLock { $0.count } == 1)
    }

    @Test func `identifiers and ports are new for every question`() throws {
        let asked = Mutex<Set<[UInt8]>>([])
        let resolver = try ScriptedResolver { question in
            asked.withLock { _ = $0.insert(Array(question.prefix(2))) }
            return [Reply(bytes: Self.good.answer(question))]
        }
        for _ in 0..<8 { _ = try measure("dns://\(resolver.address)/example.com") }
        #expect(asked.withLock { $0.count } > 4)
    }

    @Test func `what is not the answer is counted and waited past`() throws {
        let resolver = try ScriptedResolver { question in
            var otherID = Self.good.answer(question)
            otherID[0] ^= 1
            var otherName = Self.good.answer(question)
            otherName[13] ^= 1
            return [
                Reply(bytes: []), Reply(bytes: [1, 2, 3]), Reply(bytes: question),
                Reply(bytes: otherID), Reply(bytes: otherName),
                Reply(bytes: Self.good.answer(question), isFromServer: false),
                Reply(bytes: Self.good.answer(question)),
            ]
        }
        let found = try measure("dns://\(resolver.address)/example.com")
        #expect(found.failure == nil)
        #expect(found["foreign_packets"] == .integer(6))
    }

    @Test func `silence fails in dns at the deadline, after one question`() throws {
        let questions = Mutex(0)
        let resolver = try ScriptedResolver { _ in
            questions.withLock { $0 += 1 }
            return []
        }
        let found = try measure(
            "dns://\(resolver.address)/example.com", timeout: .milliseconds(100))
        #expect(found.failure?.stage == .dns)
        #expect(found.failure?.message.hasPrefix("no answer from 127.0.0.1") == true)
        #expect(found.metrics.isEmpty)
        #expect(questions.withLock { $0 } == 1)
    }

    @Test func `a closed port fails in dns at once`() throws {
        let port: UInt16
        do { port = try ScriptedDatagrams { _, _ in [] }.address.port }
        let found = try measure("dns://127.0.0.1:\(port)/example.com")
        #expect(found.failure?.stage == .dns)
        #expect(found.failure?.message.contains("port unreachable, says 127.0.0.1") == true)
        let overTCP = try measure("dns://127.0.0.1:\(port)/example.com carrier=tcp")
        #expect(overTCP.failure?.stage == .tcp)
    }

    @Test func `another code than the expected one fails in dns and keeps its time`() throws {
        let nowhere = AnswerBuilder(code: 3)
        let resolver = try ScriptedResolver { [Reply(bytes: nowhere.answer($0))] }
        let found = try measure("dns://\(resolver.address)/example.com")
        #expect(found.failure?.stage == .dns)
        #expect(found.failure?.message.contains("NXDOMAIN") == true)
        #expect(found.metrics[.dns] != nil)
        #expect(found["rcode"] == .text("NXDOMAIN"))
        #expect(found["ttl_min_s"] == nil)
        let wanted = try measure("dns://\(resolver.address)/example.com expect-rcode=NXDOMAIN")
        #expect(wanted.failure == nil)
    }

    @Test func `an answer that is truncated is asked for over TCP`() throws {
        let truncated = AnswerBuilder(flags: 0x8380)
        let resolver = try ScriptedResolver(
            overUDP: { [Reply(bytes: truncated.answer($0))] }, overTCP: { Self.good.answer($0) })
        let found = try measure("dns://\(resolver.address)/example.com")
        #expect(found.failure == nil)
        #expect(found["carrier"] == .text("tcp"))
        #expect(found["truncated_over_udp"] == .boolean(true))
        #expect(found["answers"] == .integer(2))
        guard case .number(let handshake) = found["tcp_handshake_ms"] else {
            Issue.record("no handshake")
            return
        }
        // The whole of it, not of TCP alone.
        #expect(try value(.dns, of: found) > handshake)
        #expect(found.metrics[.tcp] == nil)
    }

    @Test func `over TCP alone UDP is not asked`() throws {
        let resolver = try ScriptedResolver(
            overUDP: { _ in
                Issue.record("asked over UDP")
                return []
            }, overTCP: { Self.good.answer($0) })
        let found = try measure("dns://\(resolver.address)/example.com carrier=tcp")
        #expect(found.failure == nil)
        #expect(found["truncated_over_udp"] == .boolean(false))
    }

    @Test func `a connection that ends, or answers something else, fails in dns`() throws {
        let ending = try ScriptedResolver(overUDP: { _ in [] }, overTCP: { _ in nil })
        let ended = try measure("dns://\(ending.address)/example.com carrier=tcp")
        #expect(ended.failure?.stage == .dns)
        #expect(ended.metrics[.dns] == nil)
        for answer in [
            [], [1, 2, 3], AnswerBuilder(flags: 0x8380).answer(Array(repeating: 0, count: 40)),
        ] {
            let wrong = try ScriptedResolver(overUDP: { _ in [] }, overTCP: { _ in answer })
            let found = try measure("dns://\(wrong.address)/example.com carrier=tcp")
            #expect(found.failure?.stage == .dns)
            #expect(found.failure?.message.contains("malformed") == true)
        }
    }

    @Test func `an answer that cannot be read is malformed`() throws {
        let resolver = try ScriptedResolver { question in
            [Reply(bytes: Self.good.answer(question).dropLast())]
        }
        let found = try measure("dns://\(resolver.address)/example.com")
        #expect(found.failure?.stage == .dns)
        #expect(found.failure?.message.contains("malformed") == true)
        #expect(found.metrics[.dns] == nil)
    }

    @Test func `a flood of foreign packets ends at the deadline`() throws {
        let resolver = try ScriptedResolver { _ in
            [Reply](repeating: Reply(bytes: [1, 2, 3]), count: 500)
        }
        let found = try measure(
            "dns://\(resolver.address)/example.com", timeout: .milliseconds(200))
        #expect(found.failure?.stage == .dns)
    }

    @Test func `a resolver's name is looked up, and that is not its time`() throws {
        let resolver = try ScriptedResolver { [Reply(bytes: Self.good.answer($0))] }
        let named = resolver.address.replacing("127.0.0.1", with: "localhost")
        // `localhost` may be ::1 first, where nobody answers.
        let found = try measure("dns://\(named)/example.com", timeout: .seconds(5))
        #expect(found["resolver"] != nil)
        let unknown = try measure("dns://nowhere.invalid/example.com")
        #expect(unknown.failure?.stage == .dns)
        #expect(unknown.metrics.isEmpty)
    }

    @Test func `a question that is stopped says nothing of the resolver`() throws {
        let interrupt = try Interrupt()
        let resolver = try ScriptedResolver { _ in
            interrupt.trigger()
            return []
        }
        let target = try Target("dns://\(resolver.address)/example.com")
        guard case .notMeasured = try makeMeters().measure(target, interrupt: interrupt) else {
            Issue.record("it was measured")
            return
        }
    }

    /// Nothing that a resolver sends may end the probe.
    @Test(arguments: 0..<4 as Range<UInt64>)
    func `mutated answers are measured or malformed`(seed: UInt64) throws {
        let random = Mutex(SeededGenerator(seed: seed))
        let resolver = try ScriptedResolver { question in
            var bytes = Self.good.answer(question)
            random.withLock { random in
                for _ in 0...random.next() % 3 {
                    // The question stays, so that the answer is taken.
                    let place = Int.random(in: 29..<bytes.count, using: &random)
                    bytes[place] = UInt8.random(in: 0 ... .max, using: &random)
                }
            }
            return [Reply(bytes: bytes)]
        }
        let meters = try makeMeters()
        let target = try Target("dns://\(resolver.address)/example.com")
        for _ in 0..<200 {
            guard case .measured(let found) = meters.measure(target) else {
                Issue.record("seed \(seed): not measured")
                return
            }
            #expect(found.failure == nil || found.failure?.stage == .dns, "seed \(seed)")
        }
    }
}
