import EventParsing
import Telemetry
import Testing

private let good = Members()
private let session = #""11111111-2222-4333-8444-555555555555""#
private let zeros = String(repeating: "0", count: 40)

/// A number as a client may write it, and what is kept: nil when the event is refused for it.
private typealias NumberVector = (json: String, kept: Int64?)

/// Millionths of `dns_ms`, which reaches from 0 to 3,600,000 ms.
private let measurements: [NumberVector] = [
    ("0", 0), ("-0", 0), ("-0.0", 0), ("-0e5", 0), ("0e400", 0), ("0.0e-400", 0), ("1", 1_000_000),
    ("1.0", 1_000_000), ("1E0", 1_000_000), ("1E+2", 100_000_000), ("1e-2", 10_000),
    ("1e-6", 1), ("5e-7", 1), ("4.9e-7", 0), ("1e-300", 0), ("5e-324", 0),
    ("3600000", 3_600_000_000_000),
    ("3.6e6", 3_600_000_000_000), ("36e5", 3_600_000_000_000), ("3600000.0", 3_600_000_000_000),
    ("0.1", 100_000), ("0.30000000000000004", 300_000),
    ("2.5e0000000000000000000000000001", 25_000_000),
    // 32 digits, wherever they are.
    ("0.0000000000000000000000000000001", 0), ("1.0000000000000000000000000000000", 1_000_000),
    ("0.00000000000000000000000000001e29", 1_000_000),
    ("1e0000000000000000000000000000000", 1_000_000),
    // 33 digits.
    ("0.00000000000000000000000000000001", nil), ("1.00000000000000000000000000000000", nil),
    ("0.000000000000000000000000000001e30", nil), ("1e00000000000000000000000000000000", nil),
    ("0." + zeros, nil), ("1." + zeros, nil), ("1" + zeros, nil), ("0e" + zeros, nil),
    // Out of range.
    ("-1", nil), ("-1e-300", nil), ("-5e-324", nil), ("3600000.000001", nil), ("3600001", nil),
    ("1e7", nil), ("1e308", nil), ("1.8e308", nil), ("1e309", nil), ("-1e309", nil), ("1e400", nil),
    ("-1e400", nil), ("1e-400", nil), ("1e99999999999999999999", nil),
    ("1e-99999999999999999999", nil), ("9223372036854775808", nil),
    ("18446744073709551616", nil), ("340282366920938463463374607431768211456", nil),
    // Other types.
    ("\"1\"", nil), ("\"\"", nil), ("true", nil), ("false", nil), ("[]", nil), ("[1]", nil),
    ("{}", nil), ("\"NaN\"", nil), ("\"Infinity\"", nil), ("\"1e400\"", nil),
]

/// `seq`, from 1 to 2^53.
private let integers: [NumberVector] = [
    ("1", 1), ("1.0", 1), ("1e0", 1), ("10e-1", 1), ("1E+2", 100), ("12.5e1", 125),
    ("9007199254740991", 9_007_199_254_740_991), ("9007199254740992", 9_007_199_254_740_992),
    ("9.007199254740992e15", 9_007_199_254_740_992), ("0.1e1", 1),
    ("1.0000000000000000000000000000000", 1),
    ("0", nil), ("-0", nil), ("-1", nil), ("0.5", nil), ("1.5", nil), ("1e-1", nil),
    ("900719925474099.2e1", 9_007_199_254_740_992), ("0e400", nil),
    // A double would make integers of these.
    ("9007199254740993", nil), ("9.007199254740993e15", nil), ("90071992547409921e-1", nil),
    ("4503599627370497.25", nil), ("0.99999999999999999", nil), ("1.00000000000000001", nil),
    ("9007199254740994", nil), ("1e16", nil), ("9223372036854775807", nil),
    ("9223372036854775808", nil), ("18446744073709551615", nil), ("1e400", nil), ("-1e400", nil),
    ("1e-400", nil), ("1." + zeros, nil), ("1" + zeros, nil), ("\"1\"", nil), ("true", nil),
    ("[1]", nil), ("{\"a\":1}", nil), ("1e99999999999999999999", nil),
]

/// Numbers are read exactly or refused with their field: JSON leaves their range to implementations.
struct NumberTests {
    private func check(
        _ members: Members, field: String, code: RejectionCode, kept: Int64?,
        _ read: (Event) -> Int64?
    ) throws {
        for (body, form) in [
            ("[\(good.json),\(members.json),\(good.json)]", EventParser.Form.json),
            ("\(good.json)\n\(members.json)\n\(good.json)", .lines),
        ] {
            let outcomes = try parse(body, as: form)
            #expect(outcomes.map(\.isGood) == [true, kept != nil, true])
            if let kept {
                #expect(read(try outcomes[1].get()) == kept)
            } else {
                #expect(outcomes[1].rejection?.code == code)
                #expect(outcomes[1].rejection?.field == field)
            }
        }
    }

    @Test(arguments: measurements)
    func `a measurement is read exactly or refused`(_ json: String, _ kept: Int64?) throws {
        try check(
            good.with("timing_measurements", "{\"dns_ms\":\(json)}"),
            field: "timing_measurements.dns_ms", code: .invalidMeasurement, kept: kept
        ) { $0.metrics[.dns].map { Int64($0.millionths) } }
    }

    @Test(arguments: integers)
    func `an integer is read exactly or refused`(_ json: String, _ kept: Int64?) throws {
        try check(
            good.with("session_id", session).with("seq", json), field: "seq",
            code: .invalidRequest, kept: kept
        ) { $0.sequence.map { Int64($0.number) } }
    }

    @Test(arguments: [
        ("schema_version", RejectionCode.invalidSchemaVersion), ("ts_ms", .invalidTimestamp),
        ("seq", .invalidRequest),
    ])
    func `every member has its own code for a number that is too long`(
        _ field: String, _ code: RejectionCode
    ) throws {
        for json in ["1" + zeros, "1." + zeros, "1e400", "1e" + zeros] {
            try check(
                good.with("session_id", session).with("seq", "1").with(field, json), field: field,
                code: code, kept: nil
            ) { _ in nil }
        }
        try check(
            good.with("network_context", "{\"asn\":1.\(zeros)}"), field: "network_context.asn",
            code: .invalidRequest, kept: nil
        ) { _ in nil }
    }
}
