internal import Deployment
internal import Glibc

/// Makes the server that is not the primary its replica again, or says why not.
package struct Rejoin {
    private let pair: DatabasePair
    private let timeout: Duration
    private let say: (String) -> Void
    private let isStopped: @Sendable () -> Bool

    private static let restartLimit = Duration.seconds(200)

    /// - Parameter timeout: How long a copy may take.
    package init(
        _ pair: DatabasePair, timeout: Duration, isStopped: @escaping @Sendable () -> Bool,
        say: @escaping (String) -> Void
    ) {
        self.pair = pair
        self.timeout = timeout
        self.isStopped = isStopped
        self.say = say
    }

    /// What is decided now; says what was seen.
    package func decide() throws(FailoverError) -> RejoinDecision {
        let sights = pair.look()
        for sight in sights { say(sight.summary) }
        guard let first = sights.first, let second = sights.last else {
            throw FailoverError("there are no servers")
        }
        return decideRejoin(first, second)
    }

    /// Starts a replica that was stopped.
    package func start(_ name: String, following primaryName: String) throws(FailoverError) {
        try follow(name, primaryName) { server throws(FailoverError) in
            say("starting \(name)")
            try pair.run(server.scripts.start, on: server)
        }
    }

    /// Rewinds or copies, then starts.
    package func remake(_ name: String, following primaryName: String) throws(FailoverError) {
        try follow(name, primaryName) { server throws(FailoverError) in
            say("\(name) becomes the replica of \(primaryName): by pg_rewind, or by a fresh copy")
            try pair.run(server.scripts.remake, on: server, timeout: Self.restartLimit)
        }
    }

    private func follow(
        _ name: String, _ primaryName: String,
        _ begin: (DatabasePair.Server) throws(FailoverError) -> Void
    ) throws(FailoverError) {
        let server = try pair.server(name)
        let primary = try pair.server(primaryName)
        try pair.run(primary.scripts.keepLog, on: primary)
        try begin(server)
        let deadline = ContinuousClock.now + timeout
        while true {
            let sights = (primary: pair.look(at: primary), replica: pair.look(at: server))
            if sights.primary.answer?.sendingState == "streaming", sights.replica.isReplica {
                for line in words(server) { say(line) }
                say(
                    "\(name) follows \(primaryName): timeline \(sights.replica.answer?.timeline ?? 0), streaming"
                )
                return
            }
            guard ContinuousClock.now < deadline, !isStopped() else {
                throw FailoverError(
                    "\(name) does not follow \(primaryName) yet; it goes on by itself, and the same command says how it "
                        + "stands. Its last words: \(words(server).joined(separator: "; "))")
            }
            sleep(2)
        }
    }

    private func words(_ server: DatabasePair.Server) -> [String] {
        let text = (try? pair.run(server.scripts.words, on: server)) ?? ""
        return text.split(separator: "\n").map(String.init)
    }
}
