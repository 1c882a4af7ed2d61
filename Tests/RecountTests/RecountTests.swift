import Blocks
import Recount
import Telemetry
import Testing

/// 2023-12-23 16:00 UTC, the beginning of a minute.
private let start: Int64 = 1_703_347_200_000
private let minute: Int64 = 60_000
private let one = Partitioning(count: 1) ?? .standard

/// A log of one partition, in which messages follow each other.
private struct Log {
    var recount = Recount(partitioning: one)
    var sequence: UInt64 = 0

    mutating func append(_ payload: [UInt8], at broker: Int64, wasSetAside: Bool = false) {
        sequence += 1
        recount.read(
            RecountMessage(
                partition: 0, sequence: sequence, brokerMilliseconds: broker, payload: payload),
            wasSetAside: wasSetAside)
    }

    mutating func append(_ events: [Event], at broker: Int64, received: Int64? = nil) {
        var builder = BlockBuilder(
            partition: 0, producer: UniqueID(high: 1, low: 1), byteCountMax: 1 << 20)
        for event in events {
            let isTaken = builder.append(event, receivedAtMilliseconds: received ?? broker)
            #expect(isTaken)
        }
        append(builder.seal(blockNumber: sequence + 1), at: broker)
    }

    var counters: RecountCounters { recount.counters[0] ?? RecountCounters() }
}

private func event(
    _ id: UInt64, at milliseconds: Int64 = start, number: UInt64? = nil
) -> Event {
    Event(
        id: UniqueID(high: 0, low: id), clientID: "c", target: "t",
        measuredAtMilliseconds: milliseconds,
        sequence: number.map { SessionSequence(session: UniqueID(high: 0, low: 7), number: $0) })
}

@Test func `a few events by hand`() {
    var log = Log()
    var first = event(1, at: start + 5000, number: 1)
    first.metrics[.dns] = MetricValue(millionths: 1)
    first.metrics[.tcp] = MetricValue(millionths: 0)
    first.context.isp = "caf\u{E9}\t\"x\""
    var second = event(2, at: start + 9000, number: 2)
    second.metrics[.dns] = MetricValue(millionths: 3)
    second.errorStage = .http
    second.context.asn = 64500
    var third = event(3, at: start, number: 5)
    third.metrics[.dns] = MetricValue(millionths: 3)
    log.append([first, second], at: start + 10_000)
    log.append([third, first], at: start + 3 * minute, received: start + 3 * minute + 1)

    #expect(
        log.recount.cellRows().map(\.line) == [
            [
                "agg_1m", #"window=1703347200000 client="c" target="t""#,
                "count_total=3", "count_success=2", "count_error=1", "dns_error_count=0",
                "tcp_error_count=0", "tls_error_count=0", "http_error_count=1",
                "throughput_error_count=0", "late_count=1",
                // Ranks 2, 3 and 3 of 1, 3, 3; the middle of the bucket is 3.0014…, beyond the maximum.
                "dns=count:3 sum:7 min:1e-06 max:3e-06 p50:3e-06 p95:3e-06 p99:3e-06 sketch:1*1,57*2",
                "tcp=count:1 sum:0 min:0.0 max:0.0 p50:0.0 p95:0.0 p99:0.0 sketch:0*1",
                "network_type=null", "isp=null", "region=null", "source_ip=null", "resolver=null",
                "asn=64500", "context_ts_ms=1703347209000",
            ].joined(separator: "\t")
        ])
    #expect(
        log.recount.sessionRows().map(\.line) == [
            [
                "probe_sessions",
                #"client="c" session=00000000-0000-0000-0000-000000000007"#,
                "partition=0", "counted_seqs={[1,3),[5,6)}", "first_ts=1703347200000",
                "last_ts=1703347209000", "events=3", "duplicates=1",
            ].joined(separator: "\t")
        ])
    #expect(log.counters.counted == 3)
    #expect(log.counters.duplicates == 1)
    #expect(log.counters.late == 1)
}

@Test func `texts are told apart by their bytes`() {
    var log = Log()
    for (index, name) in ["caf\u{E9}", "cafe\u{301}", "caf\\u{e9}"].enumerated() {
        var event = event(UInt64(index))
        event.target = Name(name)
        log.append([event], at: start)
    }
    #expect(
        log.recount.cellRows().map(\.key) == [
            #"window=1703347200000 client="c" target="caf\\u{e9}""#,
            #"window=1703347200000 client="c" target="cafe\u{301}""#,
            #"window=1703347200000 client="c" target="caf\u{e9}""#,
        ])
}

@Test
func `an event without a number counts again 15 minutes of the log after its last repetition`() {
    var log = Log()
    log.append([event(1)], at: start)
    // A broker's clock that goes back does not move the log's time back.
    log.append([event(1)], at: start + 15 * minute)
    log.append([event(1)], at: start + 14 * minute)
    #expect(log.counters.counted == 1)
    log.append([event(1)], at: start + 30 * minute + 1)
    #expect(log.counters.counted == 2)
    #expect(log.counters.duplicates == 2)
}

@Test func `a number counts once however late its repetition comes`() {
    var log = Log()
    for hours in [0, 1, 20] as [Int64] {
        log.append([event(1, number: 64)], at: start + hours * 60 * minute)
    }
    #expect(log.counters.counted == 1)
    #expect(log.counters.duplicates == 2)
}

@Test func `a session takes 10000 runs of numbers, and what makes one longer`() {
    var log = Log()
    let scattered = (0...10_000 as ClosedRange<UInt64>).map { event($0, number: $0 * 3 + 2) }
    log.append(scattered, at: start)
    #expect(log.counters.counted == 10_000)
    #expect(log.counters.rejected == 1)
    // Beside one run, between two, known, and one on its own again, for which there is room now.
    log.append([3, 4, 2, 40_000, 50_000].map { event($0, number: $0) }, at: start)
    #expect(log.counters.counted == 10_003)
    #expect(log.counters.duplicates == 1)
    #expect(log.counters.rejected == 2)
}

@Test func `the bounds of what is kept, and of what is late`() {
    var log = Log()
    let now = start + 30 * 24 * 60 * minute
    let day = 24 * 60 * minute
    log.append(
        [
            event(1, at: now + 10 * minute), event(2, at: now + 10 * minute + 1),
            event(3, at: now - 31 * day), event(4, at: now - 31 * day - 1),
        ], at: now)
    #expect(log.counters.counted == 2)
    #expect(log.counters.rejected == 2)
    #expect(log.counters.late == 1)
    log.append([event(5, at: now)], at: now, received: now + 3 * minute)
    #expect(log.counters.late == 1)
    log.append([event(6, at: now)], at: now, received: now + 3 * minute + 1)
    #expect(log.counters.late == 2)
}

@Test func `what cannot be decoded or was set aside is a dead letter and no event`() {
    var log = Log()
    log.append(Array("no block".utf8), at: start)
    var builder = BlockBuilder(partition: 0, producer: .zero, byteCountMax: 1 << 16)
    _ = builder.append(event(1), receivedAtMilliseconds: start)
    log.append(builder.seal(blockNumber: 1), at: start, wasSetAside: true)
    #expect(log.counters.messages == 2)
    #expect(log.counters.deadLetters == 2)
    #expect(log.counters.events == 0)
    #expect(log.recount.cellRows().isEmpty)
}

@Test func `plain JSON counts like a block, and its bad events are rejected`() {
    var log = Log()
    let id = "550e8400-e29b-41d4-a716-44665544000"
    let good =
        #"{"schema_version":1,"event_id":"\#(id)0","client_id":"c","target":"t","#
        + #""ts_ms":\#(start),"timing_measurements":{"dns_ms":15.3}}"#
    let bad = good.replacing("15.3", with: "-1")
    log.append(Array("[\(good),\(bad),\(good)]".utf8), at: start)
    #expect(log.counters.events == 3)
    #expect(log.counters.counted == 1)
    #expect(log.counters.rejected == 1)
    #expect(log.counters.duplicates == 1)
    #expect(
        log.recount.cellRows().first?.fields.contains { $0.hasPrefix("dns=count:1 sum:15300000 ") }
            == true)
}

@Test func `a log without its beginning names the rows it is not certain of`() {
    let recount = Recount(partitioning: one, windowsFromMilliseconds: start + minute)
    var log = Log(recount: recount)
    log.append([event(1), event(2, at: start + minute)], at: start + 15 * minute)
    log.append([event(3, at: start + 2 * minute)], at: start + 15 * minute + 1)
    log.append([event(4, at: start + 3 * minute, number: 1)], at: start + minute)
    #expect(recount.cellRows().count == 3)
    #expect(
        recount.uncertainCellKeys(beginningMilliseconds: start) == [
            #"window=1703347260000 client="c" target="t""#
        ])
}

@Test func `differences name the row and the fields`() {
    var log = Log()
    log.append([event(1), event(2, at: start + minute)], at: start + minute)
    var other = Log()
    other.append([event(1), event(3), event(2, at: start + 2 * minute)], at: start + 2 * minute)
    let differences = RowDifference.between(
        recounted: log.recount.cellRows(), stored: other.recount.cellRows())
    #expect(differences.count == 3)
    guard case .different = differences[0], case .missing = differences[1],
        case .unexpected = differences[2]
    else {
        Issue.record("\(differences)")
        return
    }
    #expect(
        differences[0].fields.map { $0.recounted } == ["count_total=1", "count_success=1"])
    #expect(differences[0].fields.map { $0.stored } == ["count_total=2", "count_success=2"])
}
