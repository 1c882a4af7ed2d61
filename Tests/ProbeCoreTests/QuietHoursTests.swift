import Testing

@testable import ProbeCore

@Suite struct QuietHoursTests {
    private func minutes(_ texts: String...) throws -> [ClosedRange<Int>] {
        let hours = try #require(QuietHours(texts))
        var ranges: [ClosedRange<Int>] = []
        for minute in 0..<1440 where hours.contain(minuteOfDay: minute) {
            if let last = ranges.last, last.upperBound == minute - 1 {
                ranges[ranges.count - 1] = last.lowerBound...minute
            } else {
                ranges.append(minute...minute)
            }
        }
        return ranges
    }

    @Test func `the end is not within them, and midnight may be`() throws {
        #expect(try minutes("08:30-09:00") == [510...539])
        #expect(try minutes("22:00-06:00") == [0...359, 1320...1439])
        #expect(try minutes("00:00-24:00") == [0...1439])
        #expect(try minutes("23:00-24:00", "00:00-01:00") == [0...59, 1380...1439])
        #expect(try minutes().isEmpty)
    }

    @Test(arguments: [
        "", "8:00-9:00", "08:00", "08:00-08:00", "08:00-25:00", "08:60-09:00", "24:30-01:00",
        "08:00-09:00-10:00", "aa:bb-cc:dd", "+8:00-09:00", "08-09",
    ])
    func `anything else is refused`(text: String) {
        #expect(QuietHours([text]) == nil)
    }

    @Test func `every moment has a time of the day`() throws {
        let hours = try #require(QuietHours(["00:00-24:00"]))
        for moment in [0, -1, 1_700_000_000_000, 4_000_000_000_000] as [Int64] {
            #expect(hours.contain(unixMilliseconds: moment))
        }
        #expect(!QuietHours().contain(unixMilliseconds: 1_700_000_000_000))
    }
}
