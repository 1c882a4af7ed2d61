import Glibc
import ProbeCore
import ServiceKit

// A limit on the size of files is an error of a write, not the end of the process.
signal(SIGXFSZ, SIG_IGN)

let arguments = CommandLine.arguments.dropFirst()
if arguments.first == "once" {
    exit(runOnce(arguments.dropFirst()))
}

let program = Program(
    name: "probe",
    abstract: "Measures targets from this machine and posts what it finds to ingest.",
    discussion: """
        Each target is measured at every interval, by its kind: http and https get one GET over a \
        fresh connection, its stages timed by themselves; dns asks one question of a named \
        resolver; tcp makes one handshake; icmp and udp send a train of echo requests, and \
        first-hop does to the default gateway; download, upload and loaded (each +http or +https) \
        move data to see how much passes and what it does to round trips. Options stand behind the \
        address, between spaces: 'icmp://192.0.2.1 count=20 interval=1m'. docs/measurements.md \
        says what each kind measures and how.
        Events wait on disk, in the state folder, until ingest has taken them. The probe only \
        calls out; its metrics are off unless --metrics-listen names an address. icmp needs a \
        permission, which 'probe check' tells how to give; without it the other targets are \
        measured.
        'probe check' tests everything between this probe and ingest, with the settings that the \
        probe would run with, and says what to do; see 'probe check --help'.
        'probe once TARGET' makes one measurement and shows it; see 'probe once --help'.
        """,
    examples: [
        Program.Example(
            "probe --target https://example.com --ingest-url http://127.0.0.1:8080 --token-file token",
            "measure one target every 10 s"),
        Program.Example(
            "probe check --config probe.yml",
            "test all that the probe depends on, and say what to do"),
        Program.Example("probe once https://example.com", "measure once and show the stages"),
        Program.Example(
            "probe once 'icmp://192.0.2.1 count=20'", "measure round trips, jitter and loss"),
        Program.Example(
            "probe once dns://192.0.2.53/example.com?type=AAAA", "time one answer of a resolver"),
        Program.Example("probe once tcp://example.com:22", "time one handshake"),
        Program.Example("probe once first-hop", "measure the way to the default gateway"),
        Program.Example(
            "probe once 'download+https://example.com/large connections=4'",
            "measure how much passes; upload+https is the other way"),
        Program.Example(
            "probe once 'loaded+https://example.com/large small=/favicon.ico'",
            "measure what a full link does to round trips"),
    ],
    settings: ProbeSettings.all,
    metricsListen: "off",
    check: ProbeConfiguration.problems(in:),
    run: { context in
        let configuration = try ProbeConfiguration(context.settings)
        let probe: Probe
        do {
            probe = try Probe(configuration, logger: context.logger)
        } catch {
            throw ProgramFailure(.configuration, "\(error)")
        }
        ProbeMetrics.register(probe, in: context.metrics)
        context.onReload("token, targets and how they are measured") { settings in
            probe.adopt(try ProbeConfiguration(settings))
        }
        await context.add("probe") { await probe.run() }
    }
)
if arguments.first == "check" {
    exit(runCheck(arguments.dropFirst(), of: program))
}
await program.main()

/// Runs `probe check` and gives the exit code.
func runCheck(_ arguments: ArraySlice<String>, of program: Program) -> Int32 {
    if arguments.contains("--help") || arguments.contains("-h") {
        print(CheckCommand.help, terminator: "")
        return ExitCode.success.rawValue
    }
    do throws(CheckCommand.Misuse) {
        let command = try CheckCommand(
            arguments: arguments, environment: ProcessEnvironment.variables,
            settings: program.allSettings, check: ProbeConfiguration.problems(in:))
        return command.run { text in
            let bytes = Array(text.utf8)
            // At once, also into a pipe: some checks take their time.
            write(STDOUT_FILENO, bytes, bytes.count)
        }.rawValue
    } catch {
        return misused("probe check", "\(error)")
    }
}

/// Runs `probe once` and gives the exit code.
func runOnce(_ arguments: ArraySlice<String>) -> Int32 {
    if arguments.contains("--help") || arguments.contains("-h") {
        print(OnceCommand.help, terminator: "")
        return ExitCode.success.rawValue
    }
    do throws(OnceCommand.Misuse) {
        let (output, exitCode) = try OnceCommand(arguments: arguments).run()
        print(output, terminator: "")
        return exitCode.rawValue
    } catch {
        return misused("probe once", "\(error)")
    }
}

/// Says what was wrong with a command line.
func misused(_ command: String, _ problem: String) -> Int32 {
    let message = Array("\(command): \(problem)\nTry '\(command) --help'.\n".utf8)
    write(STDERR_FILENO, message, message.count)
    return ExitCode.usage.rawValue
}
