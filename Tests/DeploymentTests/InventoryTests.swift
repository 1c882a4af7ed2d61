import Deployment
import TestKit
import Testing

@Suite struct InventoryTests {
    @Test func `the hosts file that the project shows is good`() throws {
        let inventory = try Inventory(exampleHosts)
        #expect(inventory.warnings.isEmpty)
        #expect(inventory.machines.count == 12)
        let machine = try #require(inventory.machine(called: "192.0.2.31"))
        #expect(machine.name == "aggregator-1")
        #expect(machine.services.map(\.name) == ["aggregator-1", "diagnoser-1"])
        #expect(inventory.machine(called: "diagnoser-1") == machine)
        #expect(inventory.machine(called: "nats-4") == nil)
    }

    @Test func `names may stand on one line or many, with others between`() throws {
        let inventory = try Inventory(
            """
            127.0.0.1\tlocalhost
            ff02::1 ip6-allnodes # of the system
            2001:db8:0::1  db.example postgres-primary   nats-1\r
            # 2001:db8::2 nats-2
            2001:db8::1 aggregator-1 ingest-1 db.example spare_1
            2001:DB8::3 probe-a probe-b operator
            """)
        let machine = try #require(inventory.machine(called: "nats-1"))
        #expect(machine.address.text == "2001:db8::1")
        #expect(
            machine.services.map(\.name) == [
                "postgres-primary", "nats-1", "aggregator-1", "ingest-1",
            ])
        #expect(machine.aliases == ["db.example", "spare_1"])
        #expect(inventory.machines.count == 2)
        #expect(inventory.machine(called: "localhost") == nil)
        #expect(inventory.machine(called: "spare_1") == machine)
        #expect(inventory.machine(called: "2001:db8::0:1") == machine)
    }

    @Test func `all on one machine, even by loopback, is an installation`() throws {
        #expect(try Inventory(onOneMachine()).warnings.isEmpty)
        let loopback = onOneMachine().replacing("192.0.2.1", with: "127.0.0.1")
        #expect(try Inventory(loopback).warnings.isEmpty)
    }

    @Test(arguments: [
        // What it is as a line.
        ("192.0.2.300 probe-a", "hosts:2: '192.0.2.300' is not an IP address"),
        ("192.0.2.01 probe-a", "hosts:2: '192.0.2.01' is not an IP address"),
        ("nats-1 192.0.2.2", "hosts:2: 'nats-1' is not an IP address"),
        ("::ffff:192.0.2.2 probe-a", "hosts:2: '::ffff:192.0.2.2' is not an IP address"),
        ("fe80::1%eth0 probe-a", "hosts:2: 'fe80::1%eth0' is not an IP address"),
        ("192.0.2.2", "hosts:2: no name after 192.0.2.2"),
        ("192.0.2.2 probe-a $(reboot)", "hosts:2: '$(reboot)' is not a host name"),
        ("192.0.2.2 10.0.0.1", "hosts:2: '10.0.0.1' is not a host name"),
        ("192.0.2.2 -a", "hosts:2: '-a' is not a host name"),
        ("192.0.2.2 a..b", "hosts:2: 'a..b' is not a host name"),
        // Which machine it is.
        (
            "192.0.2.2 ingest-1",
            "hosts:2: ingest-1 is 192.0.2.2 here and 192.0.2.1 in line 1; keep one of the lines"
        ),
        ("fe80::1 probe-a", "hosts:2: fe80::1 is a link-local address"),
        ("224.0.0.1 probe-a", "hosts:2: 224.0.0.1 is a multicast or reserved address"),
        ("0.0.0.0 probe-a", "hosts:2: 0.0.0.0 is the unspecified address"),
        ("127.0.0.2 probe-a", "hosts:2: 127.0.0.2 is the machine itself"),
        ("::1 probe-a", "hosts:2: ::1 is the machine itself"),
        ("2001:db8::2 ingest-2", "hosts:2: ingest-2 has an IPv6 address and postgres-primary one"),
        // Which role it has.
        ("192.0.2.2 postgres-replika", "did you mean postgres-replica?"),
        ("192.0.2.2 graphana", "did you mean grafana?"),
        ("192.0.2.2 agregator-2", "did you mean aggregator-2?"),
        ("192.0.2.2 natts-3", "did you mean nats-3?"),
        ("192.0.2.2 prob-a", "did you mean probe-a?"),
        ("192.0.2.2 opreator-a", "did you mean operator-a?"),
        ("192.0.2.2 Ingest-2", "no role is called Ingest-2: write it ingest-2"),
        ("192.0.2.2 ingest", "after ingest- comes a number from 1 to 999"),
        ("192.0.2.2 ingest2", "after ingest- comes a number from 1 to 999"),
        ("192.0.2.2 ingest-02", "after ingest- comes a number from 1 to 999"),
        ("192.0.2.2 ingest-0", "after ingest- comes a number from 1 to 999"),
        ("192.0.2.2 ingest-1000", "after ingest- comes a number from 1 to 999"),
        ("192.0.2.2 probe", "after probe- come letters, digits and hyphens"),
        ("192.0.2.2 probe-", "is not a host name"),
        ("192.0.2.2 probe-a_b", "after probe- come letters, digits and hyphens"),
        ("192.0.2.2 postgres", "write postgres-primary or postgres-replica"),
        ("192.0.2.2 postgres-2", "write postgres-primary or postgres-replica"),
    ])
    func `a line that cannot be meant so is refused, with its number`(
        line: String, expected: String
    ) {
        let found = problems(onOneMachine(line))
        #expect(isRefused(onOneMachine(line)))
        #expect(found.count { !$0.contains("warning:") } == 1, "\(found)")
        #expect(found.contains { $0.contains(expected) }, "\(found)")
    }

    @Test(arguments: ["gateway", "west-1", "db7.example", "mail", "nats-1.example.com", "router2"])
    func `names that look like none of ours are left alone`(name: String) throws {
        #expect(try Inventory(onOneMachine("192.0.2.2 \(name)")).machines.count == 1)
    }

    @Test func `every problem is told, in the order of the lines`() {
        let found = problems(
            """
            192.0.2.300 nats-1
            192.0.2.2 graphana
            192.0.2.3 ingest-1
            """)
        #expect(
            found == [
                "hosts:1: '192.0.2.300' is not an IP address; a line is an address and then names, such as "
                    + "192.0.2.21 nats-1",
                "hosts:2: no role is called graphana: did you mean grafana? (what is none of ours needs "
                    + "another name)",
                "hosts: no aggregator-1, what counts events: add a line, or the name to a line",
                "hosts: no nats-1, the stream of events: add a line, or the name to a line",
                "hosts: no postgres-primary, the database: add a line, or the name to a line",
                "hosts: warning: no diagnoser-1: nothing will name faults",
            ])
    }

    @Test func `an empty file names what is missing`() {
        let found = problems("# nothing yet\n")
        for name in ["postgres-primary", "nats-1", "aggregator-1", "ingest-1"] {
            #expect(found.contains { $0.hasPrefix("hosts: no \(name), ") }, "\(found)")
        }
    }

    @Test(arguments: [2, 4, 6, 7])
    func `a number of NATS nodes that gains nothing is refused`(count: Int) {
        let lines = (1...count).map { "192.0.2.\(20 + $0) nats-\($0)" }
        let text =
            "192.0.2.1 postgres-primary aggregator-1 diagnoser-1 ingest-1\n"
            + lines.joined(separator: "\n")
        #expect(isRefused(text))
        #expect(problems(text).contains { $0.hasPrefix("hosts: \(count) NATS nodes") })
    }

    @Test(arguments: [1, 3, 5])
    func `one, three or five NATS nodes are good`(count: Int) throws {
        let lines = (1...count).map { "192.0.2.\(20 + $0) nats-\($0)" }
        _ = try Inventory(
            "192.0.2.1 postgres-primary aggregator-1 diagnoser-1 ingest-1\n"
                + lines.joined(separator: "\n"))
    }

    @Test func `a quorum needs machines of its own`() {
        let text =
            "192.0.2.1 postgres-primary aggregator-1 ingest-1 nats-1 nats-2\n192.0.2.2 nats-3"
        #expect(
            problems(text).contains {
                $0.hasPrefix("hosts:1: nats-1 and nats-2 are one machine, 192.0.2.1")
            })
    }

    @Test func `two of a kind cannot share the ports of a machine`() {
        #expect(
            problems(onOneMachine("192.0.2.1 ingest-2")).contains(
                "hosts:1: ingest-1 and ingest-2 are one machine, 192.0.2.1, and all want its port 8080; "
                    + "give each a machine of its own"))
        #expect(!isRefused(onOneMachine("192.0.2.1 probe-a probe-b")))
    }

    @Test func `what works less well than it looks is a warning`() throws {
        let text = """
            192.0.2.1 postgres-primary postgres-replica
            192.0.2.2 nats-1 aggregator-1 aggregator-3
            192.0.2.3 ingest-1
            """.replacing(" aggregator-3", with: "\n192.0.2.4 aggregator-3")
        #expect(
            try Inventory(text).warnings.map { $0.text(file: "hosts") } == [
                "hosts:1: warning: postgres-replica is on the primary's machine: it is lost together "
                    + "with it",
                "hosts: warning: no diagnoser-1: nothing will name faults",
                "hosts: warning: one NATS node: while its machine is away nothing is accepted, and with "
                    + "its disk all is lost that was not counted; three survive the loss of one",
                "hosts: warning: there is aggregator-3 and no aggregator-2: was a line forgotten?",
            ])
        let alone = "192.0.2.1 postgres-primary nats-1 aggregator-1 diagnoser-1\n192.0.2.2 ingest-1"
        #expect(problems(alone).contains { $0.hasPrefix("hosts: warning: no postgres-replica") })
    }

    @Test func `random bytes are refused or read, never a trap`() {
        let seed = UInt64.random(in: .min ... .max)
        var generator = SeededGenerator(seed: seed)
        let pieces = [
            "192.0.2.1", "::1", "2001:db8::1", "nats-", "nats-1", "postgres", "-", "9", "\u{301}",
            "🦆", "#",
            " ", "\t", "\n", "\r\n", "probe-", "\0", "ingest-99999999999999999999", ".", "_",
            "operator",
        ]
        for _ in 0..<2000 {
            let text = (0..<Int.random(in: 0...30, using: &generator))
                .map { _ in pieces.randomElement(using: &generator) ?? "" }.joined()
            #expect(
                problems(text).allSatisfy { $0.hasPrefix("hosts") && !$0.contains("\n") },
                "seed \(seed)")
        }
    }
}
