import Dispatch
import IngestCore
import PrivateServers
import Synchronization
import Telemetry
import TestKit
import Testing

@Suite(.serialized) struct OverloadTests {
    @Test func `ten times more than fits is refused, and what was accepted is stored`() async throws
    {
        let settings = ["max-inflight-bytes": "1MiB", "publish-timeout": "1s"]
        try await withIngest(settings: settings) { ingest in
            let statuses = Mutex<[Int: Int]>([:])
            let accepted = Mutex<[String]>([])
            let mostBytes = Mutex(0.0)
            let problems = Mutex<[String]>([])
            let padding = String(repeating: " ", count: 60_000)
            let senders = 32
            ingest.nats.pause()
            // Threads of their own: they wait in system calls.
            await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
                DispatchQueue.global().async {
                    DispatchQueue.concurrentPerform(iterations: senders + 1) { sender in
                        guard sender < senders else {
                            _ = eventually(within: .milliseconds(700)) {
                                let bytes = ingest.metric("qoe_ingest_inflight_bytes") ?? 0
                                mostBytes.withLock { $0 = max($0, bytes) }
                                return false
                            }
                            ingest.nats.resume()
                            return
                        }
                        for round in 0..<6 {
                            let id =
                                "550e8400-e29b-41d4-a716-\(446_655_440_000 + sender * 100 + round)"
                            do {
                                let status = try ingest.post(eventJSON(id: id) + padding).status
                                statuses.withLock { $0[status, default: 0] += 1 }
                                if status == 202 { accepted.withLock { $0.append(id) } }
                            } catch {
                                problems.withLock { $0.append("\(error)") }
                            }
                        }
                    }
                    done.resume()
                }
            }
            ingest.nats.resume()
            #expect(problems.withLock { $0 } == [])
            #expect(Set(statuses.withLock { $0.keys }).isSubset(of: [202, 429, 503]))
            #expect(statuses.withLock { $0.values.reduce(0, +) } == senders * 6)
            // Each loop counts what it has read before it knows that it is too much.
            #expect(mostBytes.withLock { $0 } <= Double(1 << 20 + 2 * (64 << 10)))
            #expect(try eventually { try ingest.post(eventJSON()).status == 202 })
            let stored = Set(try ingest.storedEvents().map { $0.event.id.description })
            #expect(accepted.withLock { $0 }.allSatisfy(stored.contains))
            #expect(eventually { ingest.isIdle() })
        }
    }
}
