/// Times pieces of work against a baseline of the same run.
///
/// Machines are shared and noisy, so rounds of all pieces are interleaved, the median counts, and what is
/// reported first is the ratio to the baseline.
struct Comparison {
    /// One piece of work: `operations` units, done once by `run`, whose result is returned so that
    /// nothing can be optimised away.
    struct Work {
        let name: String
        let operations: Int
        let run: () -> UInt64
    }

    let title: String
    /// What one unit is, for example "event".
    let unit: String
    let baseline: Work
    let candidates: [Work]

    func report(rounds: Int) {
        let works = [baseline] + candidates
        var nanoseconds = works.map { _ in [Double]() }
        var checksum: UInt64 = 0
        for round in 0...rounds {
            for (index, work) in works.enumerated() {
                let start = ContinuousClock.now
                checksum &+= work.run()
                let elapsed = ContinuousClock.now - start
                // The first round warms up.
                guard round > 0 else { continue }
                nanoseconds[index].append(
                    (elapsed / .nanoseconds(1)) / Double(max(1, work.operations)))
            }
        }
        print("\(title) (result \(checksum))")
        let base = median(nanoseconds[0])
        for (work, times) in zip(works, nanoseconds) {
            let time = median(times)
            print(
                "  \(pad(work.name, 44))\(pad(decimal(time, 1), -10)) ns/\(unit)",
                "\(pad(decimal(1000 / time, 2), -10)) million/s  ",
                work.name == baseline.name ? "baseline" : "\(decimal(time / base, 2)) × baseline")
        }
        print("")
    }
}

func median(_ values: [Double]) -> Double {
    values.isEmpty ? 0 : values.sorted()[values.count / 2]
}

/// A number with a fixed count of decimals.
func decimal(_ value: Double, _ places: Int) -> String {
    var scale = 1.0
    for _ in 0..<places { scale *= 10 }
    let scaled = (value * scale).rounded()
    guard let whole = Int64(exactly: scaled) else { return "\(value)" }
    let digits = String(whole.magnitude)
    let padded = String(repeating: "0", count: max(0, places + 1 - digits.count)) + digits
    let sign = whole < 0 ? "-" : ""
    return places == 0
        ? sign + padded : sign + padded.dropLast(places) + "." + padded.suffix(places)
}

/// Fills up to `width` columns, on the left when `width` is negative.
func pad(_ text: String, _ width: Int) -> String {
    let fill = String(repeating: " ", count: max(0, abs(width) - text.count))
    return width < 0 ? fill + text : text + fill
}
