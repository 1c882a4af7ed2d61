import Foundation
import Testing

/// What a measurement found, what the link makes possible, and how near to the truth it should be.
///
/// A busy machine makes any measurement late, so how near it comes is asserted where the machine does nothing else
/// (`make prove`). What no delay of the machine can explain is asserted always.
struct Figure: CustomStringConvertible {
    let name: String
    let found: Double
    /// Nothing else can be, however late the machine is; nil in a bound stands for the time that the test itself took, ms.
    private let possible: (least: Double, most: Double?)
    /// What a machine that does nothing else finds.
    private let near: ClosedRange<Double>

    init(_ name: String, _ found: Double, in bounds: ClosedRange<Double>) {
        self.init(name, found, near: bounds, possible: bounds)
    }

    init(
        _ name: String, _ found: Double, near: ClosedRange<Double>, possible: ClosedRange<Double>
    ) {
        self.name = name
        self.found = found
        self.near = near
        self.possible = (possible.lowerBound, possible.upperBound)
    }

    /// A time that is never less than `least`, but for what clocks are read apart, nor more than the test took, and
    /// should be at most `lateness` more.
    init(_ name: String, _ found: Double, from least: Double, late lateness: Double) {
        self.name = name
        self.found = found
        near = (least - 0.1)...(least + lateness)
        possible = (least - 0.1, nil)
    }

    var isNear: Bool { near.contains(found) }

    func isPossible(within elapsed: Duration) -> Bool {
        found >= possible.least && found <= possible.most ?? (elapsed / .milliseconds(1))
    }

    var description: String { "\(name) is \(found), not in \(near)" }
}

/// Whether the machine does nothing else, so that what is found must also be near the truth.
private let isProof = ProcessInfo.processInfo.environment["QOE_PROVE"] != nil

/// How often a measurement whose figures are off is made again. A meter that is wrong is wrong each time.
private let attemptsMax = 3

/// Checks that figures are possible, and in a proof that in one of several attempts all are near the truth.
func expectFigures(_ measure: () async throws -> [Figure]) async throws {
    var figures: [Figure] = []
    for _ in 0..<(isProof ? attemptsMax : 1) {
        let start = ContinuousClock.now
        figures = try await measure()
        let elapsed = ContinuousClock.now - start
        for figure in figures {
            #expect(figure.isPossible(within: elapsed), "\(figure), and the test took \(elapsed)")
        }
        guard let late = figures.first(where: { !$0.isNear }) else { return }
        print("PROOF", late)
    }
    guard isProof else { return }
    for figure in figures { #expect(figure.isNear, "\(figure)") }
}
