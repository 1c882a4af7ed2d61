import Testing

@testable import Deployment

@Suite struct PreflightTests {
    private let inventory: Inventory
    private let machine: Machine

    init() throws {
        inventory = try Inventory(exampleHosts)
        machine = try #require(inventory.machine(called: "nats-1"))
    }

    private func good(_ change: (inout MachineCondition) -> Void = { _ in }) -> MachineCondition {
        var condition = MachineCondition(
            "docker\t20.10.24+dfsg1\ncompose\t2.40.3\ncores\t4\nmemory\t8000000\nfree\t99999999\t/var/lib\n"
        )
        condition.clock = ClockOffset(milliseconds: 3, uncertaintyMilliseconds: 2)
        change(&condition)
        return condition
    }

    private func said(_ condition: MachineCondition) -> [String] {
        PreflightJudge.findings(machine, condition, in: inventory).map(\.text)
    }

    @Test func `a machine that is ready gives no reason to talk`() {
        #expect(said(good()) == [])
    }

    @Test func `an answer is read, and what a login says besides is left alone`() {
        let condition = MachineCondition(
            """
            Welcome!
            docker\t28.2.2\t
            container\tqoe-nats/nats-1
            listens\t0100007F:1538
            listens\t00000000000000000000000000000000:101E
            owner\t0.0.0.0:4222\tusers:(("nats-server",pid=7,fd=3))
            free\t1024\t/opt/qoe
            listens\tnonsense
            """)
        #expect(condition.dockerVersion == "28.2.2")
        #expect(condition.containers == ["qoe-nats/nats-1"])
        #expect(condition.listening == [5432, 4126])
        #expect(condition.owners == [4222: "nats-server"])
        #expect(condition.freeKiB == ["/opt/qoe": 1024])
    }

    @Test func `old and missing Docker are told apart`() {
        #expect(said(good { $0.dockerVersion = "19.03.8" }).first?.contains("too old") == true)
        #expect(said(good { $0.composeVersion = "2.6.0" }).first?.contains("too old") == true)
        #expect(said(good { $0.composeVersion = nil }).first?.contains("has no compose") == true)
        let missing = good {
            $0.dockerVersion = nil
            $0.dockerProblem = "it is not installed"
        }
        #expect(said(missing).first?.contains("it is not installed") == true)
    }

    @Test(arguments: [
        ("20.10.24+dfsg1", true), ("v2.40.3", true), ("28.2.2", true), ("20.9.99", false),
        ("19.03.8", false), ("20.10", true), ("dev", false),
    ])
    func `versions are compared by their numbers`(_ version: String, _ isEnough: Bool) {
        let least = version.hasPrefix("v2") ? [2, 20] : [20, 10]
        #expect(PreflightJudge.isAtLeast(version, least) == isEnough)
    }

    @Test func `a full disk stands in the way, and a small one of data is a warning`() throws {
        #expect(
            said(good { $0.freeKiB = ["/var/lib": 1000] }) == [
                "nats-1: /var/lib has 0 MiB free, and 2048 MiB are needed; make room"
            ])
        let small = PreflightJudge.findings(
            machine, good { $0.freeKiB = ["/var/lib": 4 << 20] }, in: inventory)
        #expect(small.map(\.severity) == [.warning])
        let ingest = try #require(inventory.machine(called: "ingest-1"))
        #expect(
            PreflightJudge.findings(
                ingest, good { $0.freeKiB = ["/var/lib": 4 << 20] }, in: inventory) == [])
    }

    @Test func `a clock is blamed for what is certain alone`() {
        func severity(_ milliseconds: Int64, _ uncertainty: Int64) -> PreflightFinding.Severity? {
            PreflightJudge.findings(
                machine,
                good {
                    $0.clock = ClockOffset(
                        milliseconds: milliseconds, uncertaintyMilliseconds: uncertainty)
                }, in: inventory
            ).first?.severity
        }
        #expect(severity(90_000, 20) == .error)
        #expect(severity(-90_000, 20) == .error)
        #expect(severity(2_100, 500) == .warning)
        #expect(severity(900, 1_000) == nil)
        #expect(severity(Int64.min, Int64.max) == .warning || severity(Int64.min, 0) == .error)
    }

    @Test func `a clock is read between question and answer`() {
        let exact = ClockOffset(
            askedMilliseconds: 1_000_000, answeredMilliseconds: 1_000_100,
            answer: "1000.550123456\n")
        #expect(exact == ClockOffset(milliseconds: 500, uncertaintyMilliseconds: 51))
        let coarse = ClockOffset(
            askedMilliseconds: 1_000_000, answeredMilliseconds: 1_000_100, answer: "1000.%N\n")
        #expect(coarse == ClockOffset(milliseconds: 450, uncertaintyMilliseconds: 551))
        #expect(
            ClockOffset(askedMilliseconds: 0, answeredMilliseconds: 0, answer: "no time") == nil)
        #expect(
            ClockOffset(
                askedMilliseconds: 0, answeredMilliseconds: 0, answer: "9223372036854775807.1")
                == nil)
    }

    @Test func `a port of ours is busy when another has it`() {
        let foreign = good {
            $0.listening = [4222, 22]
            $0.owners = [4222: "mosquitto"]
        }
        #expect(
            said(foreign) == [
                "nats-1: mosquitto has port 4222, which nats-1 needs for clients; stop it"
            ])
        let own = good {
            $0.listening = [4222, 22]
            $0.containers = ["qoe-nats/nats-1"]
        }
        #expect(said(own) == [])
    }

    @Test func `commands that are missing are one line, and nothing else is said`() {
        #expect(
            said(MachineCondition("missing\tflock\nmissing\ttar\n")) == [
                "nats-1: commands that qoectl needs are missing there: flock, tar; install them (apt install tar "
                    + "util-linux)"
            ])
    }

    @Test func `the script itself notices a missing command`() throws {
        let script = RequiredCommands.script.replacing("grep", with: "qoe-no-such-command")
        let answer = try LocalShell().run(script + "echo went on\n", on: machine).text
        #expect(answer == "missing\tqoe-no-such-command\n")
    }

    @Test func `ports of nats-tls are looked at as well`() throws {
        let ingest = try #require(inventory.machine(called: "ingest-1"))
        let counter = try #require(inventory.machine(called: "aggregator-1"))
        let taken = good { $0.listening = [4224, 4225, 4234, 4235] }
        func lines(_ machine: Machine, _ condition: MachineCondition) -> [String] {
            PreflightJudge.findings(machine, condition, in: inventory).map(\.text)
        }
        #expect(
            lines(ingest, taken) == [
                "ingest-1: something has port 4224, which nats-tls of ingest-1 needs for connections to NATS; stop it",
                "ingest-1: something has port 4234, which nats-tls of ingest-1 needs for its health; stop it",
            ])
        #expect(lines(counter, taken).count { $0.contains("port 4225") } == 1)
        let own = good {
            $0.listening = [4224, 4234]
            $0.containers = ["qoe-ingest/nats-tls"]
        }
        #expect(lines(ingest, own) == [])
    }

    @Test func `a limit that the operator has set too high is refused before Docker does`() throws {
        let limit = try #require(
            ResourceLimit(
                .processors, service: "nats-1", variable: "NATS_CPUS", text: "8", isSet: true))
        let small = good { $0.capacity.processors = 4 }
        let findings = PreflightJudge.findings(machine, small, in: inventory, limits: [limit])
        #expect(findings.map(\.severity) == [.error])
        #expect(findings.first?.message.contains("NATS_CPUS=4 into settings.nats-1.env") == true)
        let unasked = try #require(
            ResourceLimit(
                .processors, service: "nats-1", variable: "NATS_CPUS", text: "8", isSet: false))
        #expect(
            PreflightJudge.findings(machine, small, in: inventory, limits: [unasked]).isEmpty)
    }

    @Test func `verdicts of connections are read`() {
        let found = ConnectScript.verdicts(
            "path\t192.0.2.1\t80\t0\npath\t192.0.2.1\t81\t1\npath\t192.0.2.2\t80\t124\nnoise\n")
        #expect(found["192.0.2.1 80"] == .open)
        #expect(found["192.0.2.1 81"] == .closed("refused, or no way there"))
        #expect(found["192.0.2.2 80"] == .closed("no answer within 4 s"))
        #expect(found.count == 3)
    }

    @Test func `listeners that a machine cannot open are not waited for`() {
        #expect(ListenScript.pids("no-tool\n") == nil)
        #expect(ListenScript.pids("closed\t80\tin use\nlistener\t412\n") == [412])
    }
}
