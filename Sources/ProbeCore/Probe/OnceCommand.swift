package import ServiceKit
internal import Telemetry
internal import Transport

/// `probe once`: one measurement, for people or for programs.
package struct OnceCommand: Sendable {
    /// What `probe once --help` says.
    package static let help = """
        Usage: probe once TARGET [NAME=VALUE ...] [--json] [--timeout DURATION]
                          [--ca-file PATH] [--max-body-bytes BYTES] [--client-id TEXT]

        Measures TARGET once, as the probe does at every interval, and shows what it found.
        Nothing is posted.

        TARGET is an address, with the options of its kind behind it as in the probe's
        configuration: as one argument or as several.

          probe once https://example.com expect-status=200
          probe once 'icmp://192.0.2.1 count=20'
          probe once dns://192.0.2.53/example.com?type=AAAA
          probe once download+https://example.com/large max-time=10s connections=4
          probe once loaded+https://example.com/large small=/favicon.ico

        Options of this command:
          --json            print the event as one JSON object instead, with what else was found
                            as its member "details"
          --client-id       the name in the event (default: once)
          --timeout         how long it may take (default: 10s), the own time of a transfer not
                            counted; a timeout= of the target wins
          --ca-file         PEM file with certificates to trust besides the system's
          --max-body-bytes  where to stop reading the body of one GET (default: 16MiB)

        Exit codes:
          0   the target answered well, and as it was expected to
          1   the measurement failed in a stage, or the answer was not as expected: without
              expectations, a status of 400 or higher
          64  the command line or the target was written wrongly
          69  this machine could not measure

        """

    private let target: Target
    private let showsJSON: Bool
    private let settings: Settings

    private static let declared = ProbeSettings.measuring + [ProbeSettings.clientID]

    /// The command in the arguments after `once`.
    ///
    /// - Throws: ``Misuse`` that says what is wrong with them.
    package init(arguments: some Sequence<String>) throws(Misuse) {
        var values: [String: String] = [:]
        var positional: [String] = []
        var json = false
        var pending: String?
        for argument in arguments {
            if let name = pending {
                values[name] = argument
                pending = nil
            } else if argument == "--json" {
                json = true
            } else if argument.hasPrefix("-") {
                let parts = argument.split(separator: "=", maxSplits: 1)
                guard let name = Self.declared.map(\.name).first(where: { "--\($0)" == parts[0] })
                else { throw Misuse("unknown option \(parts[0])") }
                if parts.count == 2 { values[name] = String(parts[1]) } else { pending = name }
            } else {
                positional.append(argument)
            }
        }
        if let pending { throw Misuse("--\(pending) needs a value") }
        guard !positional.isEmpty else { throw Misuse("give a target to measure") }
        do throws(TargetRefusal) {
            target = try Target(positional.joined(separator: " "))
        } catch {
            throw Misuse("\(error)")
        }
        do throws(ConfigurationError) {
            settings = try Settings(Self.declared, values: values)
        } catch {
            throw Misuse("\(error)")
        }
        showsJSON = json
    }

    /// Measures; gives what to print and how to end.
    package func run() -> (output: String, exitCode: ExitCode) {
        let tls: TLSContext
        do throws(TransportError) {
            tls = try TLSContext.client(authorityFile: settings.optionalPath("ca-file"))
        } catch {
            return ("\(error.message)\n", .unavailable)
        }
        let meters = Meters(
            dialer: Dialer(resolver: Resolver(), tls: tls), timeout: settings.duration("timeout"),
            bodyBytesMax: settings.integer("max-body-bytes"), userAgent: Product.userAgent)
        switch meters.measure(target) {
        case .notMeasured(let reason):
            return ("this machine could not measure: \(reason)\n", .unavailable)
        case .measured(let measurement):
            let text =
                showsJSON
                ? String(decoding: measurement.json(in: event(measurement)), as: UTF8.self)
                : measurement.report(of: target)
            return (text + "\n", measurement.failure == nil ? .success : .failure)
        }
    }

    /// An event without a number: a single measurement belongs to no session.
    private func event(_ measurement: Measurement) -> Event {
        var generator = SystemRandomNumberGenerator()
        return Event(
            id: .random(using: &generator),
            clientID: Name(settings.optionalString("client-id") ?? "once"), target: target.name,
            measuredAtMilliseconds: measurement.startedAt.wallMilliseconds,
            context: NetworkContext(
                sourceIP: measurement.sourceAddress.map { Name($0) },
                resolver: ResolverAddress().current.map { Name($0) }),
            metrics: measurement.metrics, errorStage: measurement.failure?.stage)
    }

    /// A command line that cannot be understood.
    package struct Misuse: Error, Sendable, CustomStringConvertible {
        package let description: String

        init(_ description: String) {
            self.description = description
        }
    }
}
