import ProbeCore
import Testing

@Suite struct ResponsivenessTests {
    @Test func `the formula of the draft gives its values`() {
        let found = Responsiveness(tcp: [40], tls: [40], http: [70], loaded: [100])
        #expect(found.foreign == 1200)
        #expect(found.own == 600)
        #expect(found.perMinute == 900)
    }

    @Test func `without tls the mean is that of two`() {
        #expect(Responsiveness(tcp: [40], tls: [], http: [80], loaded: []).foreign == 1000)
    }

    @Test func `a part that is missing makes no zero`() {
        let found = Responsiveness(tcp: [40], tls: [40], http: [], loaded: [])
        #expect(found.foreign == nil)
        #expect(found.own == nil)
        #expect(found.perMinute == nil)
    }

    @Test func `the mean keeps the lowest 95 percent`() {
        #expect(Responsiveness.trimmedMean([1000] + Array(repeating: 10, count: 19)) == 10)
        #expect(Responsiveness.trimmedMean([5]) == 5)
        #expect(Responsiveness.trimmedMean([]) == nil)
    }

    @Test func `confidence needs intervals and settled averages`() {
        let even = Array(repeating: 100.0, count: 8)
        #expect(Responsiveness.confidence(goodput: even, perMinute: even) == .high)
        #expect(Responsiveness.confidence(goodput: [1, 1, 1], perMinute: even) == .low)
        #expect(Responsiveness.confidence(goodput: even, perMinute: [nil, 1, 2, 3]) == .low)
        #expect(
            Responsiveness.confidence(goodput: even, perMinute: [100, 200, 400, 800]) == .medium)
    }

    @Test func `summaries of samples`() {
        #expect(Statistics.median([3, 1, 2]) == 2)
        #expect(Statistics.median([4, 1, 2, 3]) == 2.5)
        #expect(Statistics.median([]) == nil)
        #expect(Statistics.percentile(95, of: (1...20).map(Double.init)) == 19)
        #expect(Statistics.percentile(100, of: [1, 2]) == 2)
        #expect(Statistics.percentile(0, of: [1, 2]) == 1)
        #expect(Statistics.standardDeviation([2, 4, 4, 4, 5, 5, 7, 9]) == 2)
    }
}
