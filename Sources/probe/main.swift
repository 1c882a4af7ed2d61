import Glibc
import ProbeCore
import ServiceKit

// A limit on the size of files is an error of a write, not the end of the process.
signal(SIGXFSZ, SIG_IGN)

let arguments = CommandLine.arguments.dropFirst()
if arguments.first == "once" {
    exit(runOnce(arguments.dropFirst()))
}

await Program(
    name: "probe",
    abstract: "Measures targets from this machine and posts what it finds to ingest.",
    discussion: """
        Each target gets one GET over a fresh connection at every interval; the lookup, the TCP and \
        TLS handshakes, the first byte and the transfer are timed by themselves. Events wait on \
        disk, in the state folder, until ingest has taken them. The probe only calls out; its \
        metrics are off unless --metrics-listen names an address.
        'probe once URL' makes one measurement and shows it; see 'probe once --help'.
        """,
    examples: [
        Program.Example(
            "probe --target https://example.com --ingest-url http://127.0.0.1:8080 --token-file token",
            "measure one target every 10 s"),
        Program.Example("probe once https://example.com", "measure once and show the stages"),
    ],
    settings: ProbeSettings.all,
    metricsListen: "off",
    check: { settings in
        do throws(ConfigurationRefusal) {
            _ = try ProbeConfiguration(settings)
            return []
        } catch {
            return error.problems
        }
    },
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
).main()

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
        let message = Array("probe once: \(error)\nTry 'probe once --help'.\n".utf8)
        write(STDERR_FILENO, message, message.count)
        return ExitCode.usage.rawValue
    }
}
