import Glibc
import Synchronization
import TestKit

/// Posts events from one thread, and posts again whatever did not get 202.
struct Driver {
    let pipeline: Pipeline
    let log: OpLog
    /// Between two requests.
    var longestPauseMicroseconds: UInt32 = 30_000
    /// So many samples are of probes that number them.
    var numbersAllUntil: Int {
        get { source.numbersAllUntil }
        set { source.numbersAllUntil = newValue }
    }
    private var source: SampleSource
    private var random: SeededGenerator

    init(_ pipeline: Pipeline, _ log: OpLog, name: String, seed: UInt64) {
        self.pipeline = pipeline
        self.log = log
        source = SampleSource(name: name, seed: seed)
        random = SeededGenerator(seed: seed &+ 1)
    }

    mutating func run(while goesOn: () -> Bool) {
        while goesOn() {
            let isSingle = random.chance(20)
            let count = isSingle ? 1 : Int.random(in: 1...60, using: &random)
            var samples = (0..<count).map { _ in source.next(now: unixMilliseconds()) }
            if !isSingle {
                samples += log.again(
                    &random, unknown: 200, duplicates: Int.random(in: 0...6, using: &random))
                samples.shuffle(using: &random)
            }
            send(samples, isImpatient: random.chance(3))
            usleep(UInt32.random(in: 0...longestPauseMicroseconds, using: &random))
        }
    }

    /// Sends what is unknown until nothing is.
    mutating func settle() -> Bool {
        eventually(within: .seconds(90)) {
            let samples = log.again(&random, unknown: 200, duplicates: 0)
            if samples.isEmpty { return true }
            send(samples, isImpatient: false)
            return false
        }
    }

    private func send(_ samples: [Sample], isImpatient: Bool) {
        let bodies = samples.map(\.json)
        log.willSend(samples)
        let body = bodies.count == 1 ? bodies[0] : "[\(bodies.joined(separator: ","))]"
        let outcome = post(
            body, port: pipeline.apiPort, token: pipeline.token, isImpatient: isImpatient)
        log.settle(samples, outcome)
    }
}

func unixMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}
