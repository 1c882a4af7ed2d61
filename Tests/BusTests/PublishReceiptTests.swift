import Dispatch
import Synchronization
import TestKit
import Testing

@testable import Bus

struct PublishReceiptTests {
    private static let error = PublishError(.timeout, "late")

    private func isSuccess(_ completion: PublishReceipt.Completion?) -> Bool? {
        completion.map { if case .success = $0.outcome { true } else { false } }
    }

    @Test func `all answers and the commit are needed, in any order`() {
        let early = PublishReceipt { _ in }
        early.expect()
        early.expect()
        #expect(early.finished(nil) == nil)
        #expect(early.finished(nil) == nil)
        #expect(isSuccess(early.commit()) == true)

        let late = PublishReceipt { _ in }
        late.expect()
        late.expect()
        #expect(late.commit() == nil)
        #expect(late.finished(nil) == nil)
        #expect(isSuccess(late.finished(nil)) == true)

        #expect(isSuccess(PublishReceipt { _ in }.commit()) == true)
    }

    @Test func `the first failure decides, once`() {
        let receipt = PublishReceipt { _ in }
        for _ in 0..<3 { receipt.expect() }
        #expect(receipt.finished(nil) == nil)
        #expect(receipt.commit() == nil)
        #expect(isSuccess(receipt.finished(Self.error)) == false)
        #expect(receipt.finished(nil) == nil)

        let refused = PublishReceipt { _ in }
        refused.expect()
        refused.refused(Self.error)
        #expect(isSuccess(refused.commit()) == false)
        #expect(refused.finished(Self.error) == nil)
    }

    @Test func `threads that race complete a receipt once`() {
        let seed = UInt64.random(in: .min ... .max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<300 {
            let count = Int.random(in: 1...6, using: &random)
            let failing = Int.random(in: 0..<2 * count, using: &random)
            let receipt = PublishReceipt { _ in }
            for _ in 0..<count { receipt.expect() }
            let outcomes = Mutex<[Bool]>([])
            DispatchQueue.concurrentPerform(iterations: count + 1) { index in
                let completion =
                    index == count
                    ? receipt.commit() : receipt.finished(index == failing ? Self.error : nil)
                if let isSuccess = isSuccess(completion) {
                    outcomes.withLock { $0.append(isSuccess) }
                }
            }
            #expect(outcomes.withLock { $0 } == [failing >= count], "seed \(seed)")
        }
    }
}
