internal import ServiceKit
package import Transport

/// Which of several servers to post to next, and when.
///
/// A pure state machine: it is told what happened and when. The first server is used until it
/// fails; then the next one that is not being left alone takes over. One that comes before it in the order is tried
/// again ``returnAfter`` its last failure, and takes over when it works.
package struct EndpointRotation: Sendable {
    /// What to do next.
    package enum Step: Sendable, Equatable {
        case use(Int)
        case wait(until: MonotonicInstant)
    }

    private struct Endpoint {
        var restsUntil = MonotonicInstant(nanoseconds: 0)
        var backoff = EndpointRotation.backoff
        /// When a server that is used instead gives way again; nil while this one has not failed.
        var returnsAt: MonotonicInstant?
    }

    /// The waits between posts that fail in a row, with full jitter.
    private static let backoff = Backoff(initial: .milliseconds(500), maximum: .seconds(60))

    /// How long a preferred server that failed is passed over while another works.
    package static let returnAfter = Duration.seconds(600)

    private var endpoints: [Endpoint]
    /// The server that is used while it works.
    package private(set) var current = 0

    package init(count: Int) {
        precondition(count > 0, "there is nowhere to post to")
        endpoints = Array(repeating: Endpoint(), count: count)
    }

    /// The current server, or the next one in turn that may be used at `now`.
    package mutating func next(at now: MonotonicInstant) -> Step {
        if endpoints[current].restsUntil <= now,
            let preferred = endpoints[..<current].firstIndex(where: {
                $0.restsUntil <= now && ($0.returnsAt ?? now) <= now
            })
        {
            // Without becoming the current one before it has shown that it works.
            return .use(preferred)
        }
        for offset in endpoints.indices {
            let index = (current + offset) % endpoints.count
            if endpoints[index].restsUntil <= now {
                current = index
                return .use(index)
            }
        }
        let earliest = endpoints.map(\.restsUntil).min() ?? now
        return .wait(until: earliest)
    }

    /// A server answered as it should.
    package mutating func succeeded(_ index: Int) {
        endpoints[index] = Endpoint()
        current = index
    }

    /// A server could not take the post: it is left alone for a while, at least as long as it asked for.
    package mutating func failed(
        _ index: Int, at now: MonotonicInstant, waitAtLeast: Duration?,
        using generator: inout some RandomNumberGenerator
    ) {
        let pause = endpoints[index].backoff.next(using: &generator)
        // On top of what was asked for, as all who were asked the same would come back at once.
        endpoints[index].restsUntil = now.advanced(by: (waitAtLeast ?? .zero) + pause)
        endpoints[index].returnsAt = now.advanced(by: Self.returnAfter)
    }

    /// A server wants fewer posts: all are left alone, as it would be the others' turn to be flooded.
    package mutating func throttled(
        by index: Int, at now: MonotonicInstant, waitAtLeast: Duration?,
        using generator: inout some RandomNumberGenerator
    ) {
        failed(index, at: now, waitAtLeast: waitAtLeast, using: &generator)
        let until = endpoints[index].restsUntil
        for other in endpoints.indices {
            endpoints[other].restsUntil = max(endpoints[other].restsUntil, until)
        }
    }
}
