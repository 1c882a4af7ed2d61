import Fuzzing
import Testing

struct FuzzingTests {
    @Test(arguments: [1, 2, 3] as [UInt64])
    func `some thousand inputs find nothing`(seed: UInt64) throws {
        let corpus = FuzzCorpus(seed: seed)
        let session = FuzzSession()
        for index in 0..<4_000 as Range<UInt64> { try session.run(corpus.input(index)) }
        for target in FuzzTarget.allCases {
            let given = try #require(session.given[target])
            let accepted = try #require(session.accepted[target])
            #expect(accepted < given, "seed \(seed): \(target) takes anything")
            #expect(accepted * 50 > given, "seed \(seed): the inputs of \(target) are all noise")
        }
    }

    @Test func `the same seed and index make the same input`() {
        let (one, other) = (FuzzCorpus(seed: 7), FuzzCorpus(seed: 7))
        for index in 0..<200 as Range<UInt64> {
            #expect(one.input(index).bytes == other.input(index).bytes)
        }
        #expect(one.input(0).bytes != FuzzCorpus(seed: 8).input(0).bytes)
    }
}
