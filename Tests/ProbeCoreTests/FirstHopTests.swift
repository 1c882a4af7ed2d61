import Glibc
import TestKit
import Telemetry
import Testing
import Transport

@testable import ProbeCore

/// The way to a gateway in network namespaces of the tests' own, each in a process of its own.
@Suite(.enabled(if: Namespaces.areAvailable, "needs root, ip, nsenter and unshare"))
struct FirstHopTests {
    @Test func `no default route is a finding without loss`() async {
        await #expect(processExitsWith: .success) {
            try Namespaces.enterNew()
            let found = try measure("first-hop")
            try demand(found.failure?.stage == .tcp)
            try demand(found.failure?.message.contains("no default route") == true)
            try demand(found.metrics.isEmpty)
            // Nor is there a way to any other host.
            let echo = try measure("icmp://192.0.2.9")
            try demand(echo.failure?.message.contains("unreachable") == true)
            try demand(echo.metrics.isEmpty)
        }
    }

    @Test func `a gateway that echoes is measured by raw and by ping sockets`() async {
        await #expect(processExitsWith: .success) {
            try Namespaces.behindGateway { gateway in
                try gateway.run("sysctl -qw net.ipv4.ping_group_range='1 0'")
                try demand(EchoPermission.current().ipv4 == .rawSocket)
                let raw = try measure("first-hop gap=2ms wait=5s")
                try demand(raw.failure == nil)
                try demand(raw["method"] == .text("icmp-echo"))
                try demand(raw["icmp_socket"] == .text("raw"))
                try demand(raw["gateway"] == .text("10.9.0.1"))
                try demand(raw["interface"] == .text("probe0"))
                try demand(raw.metrics[.loss]?.inUnit == 0)

                try gateway.run("sysctl -qw net.ipv4.ping_group_range='0 0'")
                try demand(
                    EchoPermission.current() == EchoPermission(ipv4: .pingSocket, ipv6: .pingSocket)
                )
                for target in ["first-hop", "icmp://10.9.0.1", "icmp://[fd09::1]"] {
                    let ping = try measure("\(target) gap=2ms wait=5s")
                    try demand(ping.failure == nil)
                    try demand(ping["icmp_socket"] == .text("ping"))
                    try demand(ping["received"] == .integer(10))
                    try demand(ping["foreign_packets"] == .integer(0))
                }
            }
        }
    }

    @Test func `a gateway that does not echo is measured by packets of one hop`() async {
        await #expect(processExitsWith: .success) {
            try Namespaces.behindGateway { gateway in
                try gateway.runThere("sysctl -qw net.ipv4.icmp_echo_ignore_all=1")
                // The gateway has no route itself, and says that; then it has one.
                for command in ["true", "ip route add default via 10.9.0.2"] {
                    try gateway.runThere(command)
                    let found = try measure("first-hop gap=2ms wait=300ms")
                    try demand(found.failure == nil)
                    try demand(found["method"] == .text("udp-hop-limit"))
                    try demand(found["received"] == .integer(5))
                    try demand(found.metrics[.rtt] != nil)
                    try demand(found.metrics[.loss] == nil)
                    try demand(found.sourceAddress == "10.9.0.2")
                }
            }
        }
    }

    @Test func `a gateway that refuses echo requests is there, and another host is not`() async {
        await #expect(processExitsWith: .success) {
            try Namespaces.behindGateway { gateway in
                // It forwards what is for its own address, and may not.
                // Neither side asks by ARP for what is no longer an address.
                try gateway.run(
                    """
                    set -e
                    there="nsenter -t \(gateway.holder) -n ip"
                    mac() { awk '{print $3}'; }
                    ip neigh replace 10.9.0.1 dev probe0 lladdr $($there -br link show gateway0 | mac)
                    $there neigh replace 10.9.0.2 dev gateway0 lladdr $(ip -br link show probe0 | mac)
                    """)
                try gateway.runThere("ip route del local 10.9.0.1 dev gateway0 table local")
                try gateway.runThere("ip route add prohibit 10.9.0.1")
                let found = try measure("first-hop gap=2ms wait=5s")
                try demand(found.failure == nil)
                try demand(found["method"] == .text("icmp-echo"))
                // As many as it may send of these, which is no loss.
                try demand(found.metrics[.loss] == nil)
                try demand(found.metrics[.rtt] != nil)
                try demand(found["refused"] == found["received"])
                // For a target the same is a failure: what was asked for did not echo.
                let echo = try measure("icmp://10.9.0.1 gap=2ms wait=300ms")
                try demand(echo.failure?.message.contains("prohibited") == true)
                try demand(echo.metrics[.loss]?.inUnit == 100)
            }
        }
    }

    @Test func `a link-local gateway of IPv6 is measured either way`() async {
        await #expect(processExitsWith: .success) {
            try Namespaces.behindGateway { gateway in
                try gateway.run(
                    "ip route del default; ip -6 route add default via fe80::99 dev probe0")
                let echo = try measure("first-hop gap=2ms wait=5s")
                try demand(echo["gateway"] == .text("fe80::99%probe0"))
                try demand(echo["method"] == .text("icmp-echo"))
                try demand(echo.metrics[.loss]?.inUnit == 0)
                try gateway.runThere("sysctl -qw net.ipv6.icmp.echo_ignore_all=1")
                let hops = try measure("first-hop gap=2ms wait=300ms")
                try demand(hops["method"] == .text("udp-hop-limit"))
                try demand(hops.failure == nil)
            }
        }
    }

    @Test func `a gateway that is gone is lost in full`() async {
        await #expect(processExitsWith: .success) {
            try Namespaces.behindGateway { gateway in
                try gateway.runThere("ip addr flush dev gateway0")
                let found = try measure("first-hop gap=2ms wait=300ms")
                try demand(found.failure?.stage == .tcp)
                try demand(found["method"] == .text("icmp-echo"))
                try demand(found.metrics[.loss]?.inUnit == 100)
                try demand(found.metrics[.rtt] == nil)
            }
        }
    }

    @Test func `once a gateway has echoed its silence is loss, three times`() async {
        await #expect(processExitsWith: .success) {
            try Namespaces.behindGateway { gateway in
                let meters = try makeMeters()
                let target = try Target("first-hop gap=2ms wait=300ms")
                guard case .measured(let good) = meters.measure(target) else { throw NotAsWanted() }
                try demand(good.failure == nil)
                try gateway.runThere("sysctl -qw net.ipv4.icmp_echo_ignore_all=1")
                for _ in 1...3 {
                    guard case .measured(let silent) = meters.measure(target) else {
                        throw NotAsWanted()
                    }
                    try demand(silent["method"] == .text("icmp-echo"))
                    try demand(silent.metrics[.loss]?.inUnit == 100)
                }
                // It may be another network's by now.
                guard case .measured(let other) = meters.measure(target) else {
                    throw NotAsWanted()
                }
                try demand(other["method"] == .text("udp-hop-limit"))
                try demand(other.failure == nil)
            }
        }
    }

    @Test func `without permission echo is not measured, and the first hop by other means`() async {
        await #expect(processExitsWith: .success) {
            try Namespaces.behindGateway { gateway in
                try gateway.run("sysctl -qw net.ipv4.ping_group_range='1 0'")
                let nobody: uid_t = 65_534
                try demand(setegid(nobody) == 0 && seteuid(nobody) == 0)
                // Only root may end the process that holds the gateway.
                defer { _ = seteuid(0) }
                try demand(EchoPermission.current() == EchoPermission(ipv4: .none, ipv6: .none))
                let target = try Target("icmp://10.9.0.1")
                guard case .notMeasured(let reason) = try makeMeters().measure(target) else {
                    throw NotAsWanted()
                }
                try demand(reason.contains("net.ipv4.ping_group_range"))
                let found = try measure("first-hop gap=2ms wait=5s")
                try demand(found["method"] == .text("udp-hop-limit"))
                try demand(found["received"] == .integer(5))
            }
        }
    }

    @Test func `a firewall of this machine is not the target's failure`() async {
        await #expect(processExitsWith: .success) {
            try Namespaces.behindGateway { gateway in
                try gateway.run("ip route add prohibit 192.0.2.9")
                let target = try Target("icmp://192.0.2.9")
                guard case .notMeasured(let reason) = try makeMeters().measure(target) else {
                    throw NotAsWanted()
                }
                try demand(reason.contains("firewall"))
            }
        }
    }
}

private struct NotAsWanted: Error {
    let line: Int

    init(line: Int = #line) { self.line = line }
}

/// A failed expectation in a process of its own.
private func demand(_ condition: Bool, line: Int = #line) throws {
    if !condition { throw NotAsWanted(line: line) }
}

/// Network namespaces for the calling thread; they end with the process.
private struct Namespaces {
    /// The process that holds the gateway's namespace.
    let holder: String

    static let areAvailable =
        geteuid() == 0
        && system("ip link >/dev/null && unshare -n nsenter --version >/dev/null 2>&1") == 0

    /// Moves the calling thread, and what it starts, into a namespace where nothing is.
    static func enterNew() throws {
        typealias Unshare = @convention(c) (CInt) -> CInt
        // glibc's own declaration is not visible to Swift.
        guard let symbol = dlsym(nil, "unshare") else { throw NotAsWanted() }
        let cloneNewNetwork: CInt = 0x4000_0000
        guard unsafeBitCast(symbol, to: Unshare.self)(cloneNewNetwork) == 0 else {
            throw NotAsWanted()
        }
    }

    /// Calls `body` in a new namespace with a way to a gateway in another one: 10.9.0.1, fd09::1, fe80::99.
    static func behindGateway(_ body: (Namespaces) throws -> Void) throws {
        let gateway = try enterNewBehindGateway()
        do {
            defer { gateway.end() }
            try body(gateway)
        } catch let error as NotAsWanted {
            print("line \(error.line) is not as wanted")
            exit(1)
        }
    }

    private static func enterNewBehindGateway() throws -> Namespaces {
        try enterNew()
        let file = "/tmp/first-hop-\(getpid())"
        defer { unlink(file) }
        // The holder ends by itself should this process not come to end it.
        guard
            system(
                """
                unshare -n sleep 60 >/dev/null 2>&1 & echo $! > \(file)
                own=$(readlink /proc/self/ns/net)
                until [ "$(readlink /proc/$!/ns/net)" != "$own" ]; do sleep 0.01; done
                set -e
                ip link add probe0 type veth peer name gateway0
                ip link set gateway0 netns $!
                nsenter -t $! -n sh -e -c '
                    sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
                    ip addr add 10.9.0.1/24 dev gateway0
                    ip addr add fd09::1/64 dev gateway0 nodad
                    ip addr add fe80::99/64 dev gateway0 nodad
                    ip link set gateway0 up
                    ip link set lo up'
                sysctl -qw net.ipv6.conf.probe0.accept_dad=0
                ip addr add 10.9.0.2/24 dev probe0
                ip addr add fd09::2/64 dev probe0 nodad
                ip link set probe0 up
                ip link set lo up
                ip route add default via 10.9.0.1
                """) == 0
        else { throw NotAsWanted() }
        let text = try SmallFile.read(file, bytesMax: 100)
        return Namespaces(holder: String(text.prefix { $0 != "\n" }))
    }

    /// Runs a command on this side.
    func run(_ command: String, line: Int = #line) throws {
        guard system(command) == 0 else { throw NotAsWanted(line: line) }
    }

    /// Runs a command on the gateway's side.
    func runThere(_ command: String, line: Int = #line) throws {
        try run("nsenter -t \(holder) -n \(command)", line: line)
    }

    private func end() {
        if let pid = pid_t(holder), pid > 1 { kill(pid, SIGKILL) }
    }
}
