import ProbeCore
import Testing

@Suite struct StreamSearchTests {
    @Test(arguments: [
        ("needle", "a needle here", true), ("needle", "a needl", false), ("aab", "aaaab", true),
        ("abab", "abacabab", true), ("é", "café", true), ("aa", "a", false), ("", "", true),
    ])
    func `a text is found wherever the stream is cut`(text: String, stream: String, isThere: Bool) {
        let bytes = Array(stream.utf8)
        for cut in 0...bytes.count {
            var search = StreamSearch(for: text.utf8)
            search.consume(bytes.span.extracting(0..<cut))
            search.consume(bytes.span.extracting(cut..<bytes.count))
            #expect(search.isFound == isThere, "cut at \(cut)")
        }
        var search = StreamSearch(for: text.utf8)
        for index in bytes.indices { search.consume(bytes.span.extracting(index..<index + 1)) }
        #expect(search.isFound == isThere)
    }

    @Test func `it agrees with a plain search on seeded streams`() {
        let seed = UInt64.random(in: 0...(.max))
        print("stream search seed \(seed)")
        var state = seed
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(bound))
        }
        for _ in 0..<500 {
            let stream = (0..<next(60)).map { _ in UInt8(next(2)) }
            let text = (0..<(1 + next(6))).map { _ in UInt8(next(2)) }
            var search = StreamSearch(for: text)
            var index = 0
            while index < stream.count {
                let end = min(stream.count, index + 1 + next(5))
                search.consume(stream.span.extracting(index..<end))
                index = end
            }
            #expect(search.isFound == (stream.firstRange(of: text) != nil))
        }
    }
}
