import Bus
import Foundation
import NATSClient
import OwnedThreads
import Telemetry
import TestKit

/// What came of a run.
struct Report: CustomStringConvertible {
    var published = 0
    var acknowledged = 0
    /// Published, and cut off before an answer.
    var unanswered = 0
    /// Acknowledged, and not read.
    var lost = 0
    var cuts = 0
    /// A message read twice, or out of its order.
    var disordered = 0
    var megabytes = 0.0
    var seconds = 0.0
    /// What libnats reported, how often.
    var errors: [String: Int] = [:]

    var description: String {
        let rate = Int(Double(acknowledged) / max(seconds, 1))
        let errors = errors.sorted { $0.value > $1.value }.map { "\($0.value)x \($0.key)" }
        return """
            published \(published), acknowledged \(acknowledged) (\(rate)/s, \(Int(megabytes)) MB), unanswered \
            \(unanswered), lost \(lost), disordered \(disordered), cuts \(cuts); errors: \
            \(errors.isEmpty ? "none" : errors.joined(separator: ", "))
            """
    }
}

/// A publisher and a reader on connections of their own, through a proxy that cuts them.
final class Load: Sendable {
    /// How many partitions the messages go to, in turn.
    private static let partitionCount = 8
    private static let inFlightMax = 256
    /// Larger than a TLS record, smaller, and in between.
    private static let payloadByteCounts = [200, 1500, 4000, 16_000, 40_000]
    /// How long after the last publish all that was acknowledged must have been read.
    private static let readLimit = Duration.seconds(60)

    private let proxy: TCPProxy
    private let publishing: NATSConnector
    private let reading: NATSConnector
    private let duration: Duration
    private let cutInterval: Duration
    private let state = Monitor(State())

    private struct State {
        var report = Report()
        var inFlight: Set<UInt64> = []
        var acknowledged: Set<UInt64> = []
        var read: Set<UInt64> = []
        var lastRead: [Int: UInt64] = [:]
        var isCut = false
        var isReadingOver = false
    }

    init(
        port: Int, tlsFolder: String?, tlsName: String, duration: Duration, cutInterval: Duration
    ) throws {
        proxy = try TCPProxy(to: port)
        self.duration = duration
        self.cutInterval = cutInterval
        var options = NATSOptions(
            urls: ["\(tlsFolder == nil ? "nats" : "tls")://127.0.0.1:\(proxy.port)"], name: "soak")
        options.tls = tlsFolder.map { folder in
            var tls = NATSOptions.TLS()
            tls.authoritiesFile = "\(folder)/ca.pem"
            tls.certificateFile = "\(folder)/cert.pem"
            tls.keyFile = "\(folder)/key.pem"
            tls.expectedHostname = tlsName
            return tls
        }
        let state = state
        let onEvent: @Sendable (NATSConnectionEvent) -> Void = { event in
            state.update { state in
                switch event {
                case .disconnected, .closed: state.isCut = true
                case .connectFailed(let error), .error(let error):
                    state.report.errors["\(error)", default: 0] += 1
                case .connected, .reconnected: break
                }
            }
        }
        publishing = NATSConnector(options, onEvent: onEvent)
        reading = NATSConnector(options)
    }

    func run() throws -> Report {
        var settings = StreamSettings(partitioning: Partitioning(count: Self.partitionCount))
        settings.eventsByteCountMax = 12 << 30
        let connection = try publishing.waitUntilConnected(within: .seconds(20))
        _ = try ensureStreams(settings, on: JetStream(connection))
        let reader = OwnedThread(name: "reader") { self.read() }
        let cutter = OwnedThread(name: "cutter") { self.cut() }
        let start = ContinuousClock.now
        publish(until: start + duration)
        cutter.join()
        let seconds = Double((ContinuousClock.now - start).components.seconds)
        _ = state.wait(until: .now + Self.readLimit) { state in
            state.acknowledged.isSubset(of: state.read) ? true : nil
        }
        state.update { $0.isReadingOver = true }
        reader.join()
        reading.stop()
        publishing.stop()
        proxy.stop()
        return state.withLock { state in
            var report = state.report
            report.seconds = seconds
            report.acknowledged = state.acknowledged.count
            report.lost = state.acknowledged.subtracting(state.read).count
            return report
        }
    }

    private func publish(until end: ContinuousClock.Instant) {
        var number: UInt64 = 0
        var link: (connection: NATSConnection, inbox: String, subscription: NATSSubscription)?
        while ContinuousClock.now < end {
            guard
                let connection = try? publishing.waitUntilConnected(within: .milliseconds(100))
            else { continue }
            if link?.connection !== connection {
                let inbox = connection.makeInboxPrefix()
                let subscription = try? connection.subscribe("\(inbox).*") { [state] answer in
                    Self.take(answer, state)
                }
                link = subscription.map { (connection, inbox, $0) }
            }
            guard let link else { continue }
            let size = Self.payloadByteCounts[Int(number) % Self.payloadByteCounts.count]
            let hasRoom = state.wait(until: .now + .milliseconds(100)) { state -> Bool? in
                if state.isCut {
                    // What a cut connection still owed is not known to be stored.
                    state.isCut = false
                    state.report.unanswered += state.inFlight.count
                    state.inFlight.removeAll()
                }
                return state.inFlight.count < Self.inFlightMax ? true : nil
            }
            guard hasRoom == true else { continue }
            number += 1
            let sent = number
            state.update { state in
                state.inFlight.insert(sent)
                state.report.published += 1
                state.report.megabytes += Double(size) / 1e6
            }
            var payload = [UInt8](repeating: 0x61, count: size)
            for byte in 0..<8 { payload[byte] = UInt8(truncatingIfNeeded: sent >> (8 * byte)) }
            do throws(NATSError) {
                try link.connection.publish(
                    payload, to: BusSubject.events(partition: Int(sent) % Self.partitionCount),
                    replyTo: "\(link.inbox).\(sent)")
            } catch {
                state.update { state in
                    state.inFlight.remove(sent)
                    state.report.errors[error.description, default: 0] += 1
                }
            }
        }
        // The last answers; what does not come by then is unanswered.
        _ = state.wait(until: .now + .seconds(2)) { $0.inFlight.isEmpty ? true : nil }
        state.update { $0.report.unanswered += $0.inFlight.count }
        link?.subscription.cancel()
        NATSConnection.releaseThreadMemory()
    }

    private static func take(_ answer: NATSMessage, _ state: Monitor<State>) {
        guard let number = answer.subject.split(separator: ".").last.flatMap({ UInt64($0) })
        else { return }
        let text = answer.withUnsafePayload { String(decoding: $0, as: UTF8.self) }
        state.update { state in
            state.inFlight.remove(number)
            if text.contains("\"seq\":"), answer.header("Status") == nil {
                state.acknowledged.insert(number)
            } else {
                state.report.errors["answer \(text.prefix(80))", default: 0] += 1
            }
        }
    }

    private func read() {
        let reader = StreamReader.events(connector: reading)
        for partition in 0..<Self.partitionCount { reader.add(partition, from: 1) }
        while !state.withLock({ $0.isReadingOver }) {
            let messages = reader.next(until: .now + .milliseconds(100))
            state.update { state in
                for message in messages {
                    let number = message.message.withUnsafePayload { bytes in
                        bytes.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                    }
                    if message.streamSequence <= state.lastRead[message.tag] ?? 0 {
                        state.report.disordered += 1
                    }
                    state.lastRead[message.tag] = message.streamSequence
                    state.read.insert(number)
                }
            }
        }
        reader.stop()
        NATSConnection.releaseThreadMemory()
    }

    private func cut() {
        let end = ContinuousClock.now + duration
        while ContinuousClock.now + cutInterval < end {
            Thread.sleep(forTimeInterval: Double(cutInterval.components.seconds))
            proxy.cut()
            state.update { $0.report.cuts += 1 }
        }
    }
}
