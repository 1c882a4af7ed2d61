import Foundation
import Glibc
import Logging
import OwnedThreads
import ServiceKit
import ServiceLifecycle
import Synchronization
import Testing

/// The program that these tests run, each in a process of its own.
private func sample(
    settings: [Setting] = [
        Setting(
            "mode", .choice(["fast", "safe"]), default: "safe", isReloadable: true, help: "How."),
        Setting("fixed", .string, default: "a", help: "Needs a restart."),
    ],
    listeners: [Program.Listener] = [],
    run: @escaping @Sendable (ServiceContext) async throws -> Void = { _ in }
) -> Program {
    Program(
        name: "sample", abstract: "is an example", discussion: "It shows.\nIt ends.",
        examples: [.init("sample --mode fast", "Show it fast.")], settings: settings,
        metricsListen: "127.0.0.1:0", listeners: listeners, dependencies: ["nats"],
        libraries: { [("libexample", "1.2.3")] },
        check: { settings in
            settings.string("mode") == "fast" && settings.string("fixed") == "b"
                ? [settings.problem("mode", "is too fast for b")] : []
        },
        run: run)
}

/// Runs the sample in this process and ends it, as `main()` does.
private func runAndExit(_ program: Program, _ arguments: [String] = []) async -> Never {
    exit(
        await program.run(
            arguments: arguments + ["--log-format", "text"], environment: [:]
        ).rawValue)
}

/// What a child process wrote.
private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

@Suite struct ProgramTests {
    @Test func `help names every setting with its variable, default and meaning`() {
        let program = sample(listeners: [.init("api", setting: "fixed", purpose: "Serves.")])
        let help = program.helpText
        for setting in program.allSettings {
            #expect(help.contains("  \(setting.flag)"))
            #expect(setting.environment.allSatisfy { help.contains($0) })
            #expect(setting.default.map { help.contains("default \($0)") } ?? true)
            // Lines are wrapped, so words are looked for one by one.
            #expect(setting.help.split(separator: " ").allSatisfy { help.contains($0) })
            #expect(program.settingsTable.contains("| `\(setting.flag) "))
        }
        for part in ["is an example", "It ends.", "sample --mode fast", "SIGHUP", "78 ", "api: a"] {
            #expect(help.contains(part))
        }
        #expect(help.split(separator: "\n").allSatisfy { $0.count <= 88 })
    }

    @Test func `help wins over mistakes`() async throws {
        let result = try await #require(
            processExitsWith: .exitCode(0), observing: [\.standardOutputContent]
        ) {
            await runAndExit(sample(), ["--nonsense", "--help"])
        }
        #expect(text(result.standardOutputContent).hasPrefix("sample \(Build.version) - is an"))
    }

    @Test func `the version names the libraries`() async throws {
        let result = try await #require(
            processExitsWith: .exitCode(0), observing: [\.standardOutputContent]
        ) {
            await runAndExit(sample(), ["--version"])
        }
        let lines = text(result.standardOutputContent).split(separator: "\n")
        #expect(lines.first == "sample \(Build.version)")
        #expect(lines.last == "libexample 1.2.3")
    }

    @Test func `wrong usage of flags ends with 64`() async throws {
        let result = try await #require(
            processExitsWith: .exitCode(64), observing: [\.standardErrorContent]
        ) {
            await runAndExit(sample(), ["--mod", "fast"])
        }
        #expect(
            text(result.standardErrorContent) == """
                sample: --mod: is not a known flag; did you mean --mode?
                Try 'sample --help'.

                """)
    }

    @Test func `a wrong configuration ends with 78, in a check and at a start`() async throws {
        let checked = try await #require(
            processExitsWith: .exitCode(78), observing: [\.standardErrorContent]
        ) {
            await runAndExit(sample(), ["--mode", "x", "--log-level", "loud", "--check-config"])
        }
        #expect(text(checked.standardErrorContent).split(separator: "\n").count == 2)
        let started = try await #require(
            processExitsWith: .exitCode(78), observing: [\.standardErrorContent]
        ) {
            await runAndExit(sample(), ["--mode", "fast", "--fixed", "b"])
        }
        #expect(text(started.standardErrorContent) == "sample: --mode: is too fast for b\n")
    }

    @Test func `a valid configuration is said to be so`() async throws {
        let result = try await #require(
            processExitsWith: .exitCode(0), observing: [\.standardOutputContent]
        ) {
            await runAndExit(sample(), ["--check-config"])
        }
        #expect(text(result.standardOutputContent).hasSuffix("configuration is valid\n"))
    }

    @Test func `a program that returns without services is done`() async throws {
        let result = try await #require(
            processExitsWith: .exitCode(0), observing: [\.standardErrorContent]
        ) {
            await runAndExit(sample())
        }
        #expect(text(result.standardErrorContent).contains("sample: stopped"))
    }

    @Test func `an error of the program decides the exit code`() async throws {
        let result = try await #require(
            processExitsWith: .exitCode(69), observing: [\.standardErrorContent]
        ) {
            await runAndExit(sample { _ in throw ProgramFailure(.unavailable, "no disk") })
        }
        #expect(text(result.standardErrorContent).contains("critical sample: no disk"))
    }

    @Test func `a service that ends too early ends the program, others drain`() async throws {
        let result = try await #require(
            processExitsWith: .exitCode(1), observing: [\.standardErrorContent]
        ) {
            await runAndExit(
                sample { context in
                    await context.add("steady") {
                        try await gracefulShutdown()
                        context.logger.info("drained")
                    }
                    await context.add("hasty") {}
                })
        }
        let log = text(result.standardErrorContent)
        #expect(log.contains("hasty ended although no shutdown was asked for"))
        #expect(log.contains("drained"))
    }

    @Test(arguments: [SIGTERM, SIGINT])
    func `a signal shuts down gracefully, in reverse order of the start`(number: Int32) async throws
    {
        let result = try await #require(
            processExitsWith: .exitCode(0), observing: [\.standardErrorContent]
        ) { [number] in
            await runAndExit(
                sample { context in
                    for name in ["first", "second"] {
                        await context.add(name) {
                            try await gracefulShutdown()
                            context.logger.info("\(name) drained")
                        }
                    }
                    kill(getpid(), number)
                })
        }
        let log = text(result.standardErrorContent)
        let second = try #require(log.firstRange(of: "second drained"))
        let first = try #require(log.firstRange(of: "first drained"))
        #expect(second.lowerBound < first.lowerBound)
        #expect(log.contains("reason=\(number == SIGTERM ? "SIGTERM" : "SIGINT")"))
    }

    @Test func `a shutdown that hangs ends with 124 and says what hung`() async throws {
        let result = try await #require(
            processExitsWith: .exitCode(124), observing: [\.standardErrorContent]
        ) {
            await runAndExit(
                sample { context in
                    await context.add("fine") { try await gracefulShutdown() }
                    await context.add("stuck") {
                        await withCheckedContinuation { (_: CheckedContinuation<Void, Never>) in
                            kill(getpid(), SIGTERM)
                        }
                    }
                }, ["--shutdown-timeout", "200ms"])
        }
        #expect(text(result.standardErrorContent).contains("hung=stuck limit=200ms"))
    }

    @Test func `a second signal ends at once, even if every task thread is blocked`() async throws {
        await #expect(processExitsWith: .exitCode(143)) {
            await runAndExit(
                sample { context in
                    let blockedCount = Mutex(0)
                    let killer = OwnedThread(name: "killer") {
                        let width = ProcessInfo.processInfo.activeProcessorCount
                        while blockedCount.withLock(\.self) < width { usleep(1000) }
                        kill(getpid(), SIGTERM)
                        // The same signal twice at once would be merged into one.
                        while !context.isShuttingDown { usleep(1000) }
                        kill(getpid(), SIGTERM)
                    }
                    for number in 0..<1024 {
                        await context.add("blocked-\(number)") {
                            blockedCount.withLock { $0 += 1 }
                            while true { sleep(1) }
                        }
                    }
                    killer.join()
                }, ["--shutdown-timeout", "1h"])
        }
    }

    @Test func `SIGHUP hands over new settings, and a bad file keeps the old ones`() async throws {
        let result = try await #require(
            processExitsWith: .exitCode(0), observing: [\.standardErrorContent]
        ) {
            let folder = try TemporaryFolder()
            let file = try folder.file("c.yaml", "mode: safe\n")
            let program = sample { context in
                let (modes, continuation) = AsyncStream.makeStream(of: String.self)
                context.onReload("mode") { continuation.yield($0.string("mode")) }
                var iterator = modes.makeAsyncIterator()
                _ = try folder.file("c.yaml", "mode: fast\nfixed: z\n")
                kill(getpid(), SIGHUP)
                let first = await iterator.next()
                precondition(first == "fast")
                _ = try folder.file("c.yaml", "mod: safe\n")
                kill(getpid(), SIGHUP)
                let failure = "qoe_sample_reloads_total{result=\"failed\"} 1\n"
                while !context.metrics.render().contains(failure) { await Task.yield() }
                precondition(
                    context.metrics.render().contains("qoe_sample_last_reload_successful 0\n"))
                _ = try folder.file("c.yaml", "mode: safe\nlog-level: error\n")
                kill(getpid(), SIGHUP)
                let second = await iterator.next()
                precondition(second == "safe")
                context.logger.warning("too quiet for this")
            }
            await runAndExit(program, ["--config", file])
        }
        let log = text(result.standardErrorContent)
        #expect(log.contains("the new value of fixed takes effect after a restart"))
        #expect(log.contains("c.yaml:1: mod: is not a known setting; did you mean mode?"))
        #expect(log.contains("the old configuration stays in force"))
        #expect(!log.contains("too quiet"))
    }

    @Test func `the port file appears once all listeners are bound`() async throws {
        let result = try await #require(
            processExitsWith: .exitCode(0), observing: [\.standardOutputContent]
        ) {
            let folder = try TemporaryFolder()
            let path = "\(folder.path)/ports"
            let program = sample(listeners: [.init("api", setting: "fixed", purpose: "Serves.")]) {
                context in
                precondition(!FileManager.default.fileExists(atPath: path))
                try context.announce(
                    listener: "api", address: NetworkAddress(host: "::1", port: 8080))
                let lines = try TextFile.read(path, limit: 4096).split(separator: "\n")
                precondition(lines.count == 2 && lines.last == "api=[::1]:8080")
                let metrics = lines.first.flatMap { NetworkAddress(String($0.dropFirst(8))) }
                guard let metrics else { preconditionFailure("no address for metrics") }
                let ready = try HTTPClient.get("/ready", from: metrics)
                print(ready.status, ready.body)
                context.health.report("nats", .ready)
                print(try HTTPClient.get("/metrics", from: metrics).body)
            }
            await runAndExit(program, ["--port-file", path])
        }
        let output = text(result.standardOutputContent)
        #expect(output.contains("503 {\"status\":\"failing\",\"dependencies\":{\"nats\""))
        #expect(output.contains("qoe_sample_dependency_ready{dependency=\"nats\"} 1\n"))
    }
}
