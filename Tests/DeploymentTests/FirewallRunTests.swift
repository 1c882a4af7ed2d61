import Deployment
import Foundation
import TestKit
import Testing

/// Runs a shell script and gives its exit code and what it printed.
private func shell(_ script: String) throws -> (code: Int32, output: String) {
    try withTemporaryFolder { folder in
        let file = "\(folder)/output"
        _ = FileManager.default.createFile(atPath: file, contents: nil)
        let output = try FileHandle(forWritingTo: URL(fileURLWithPath: file))
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = ["-c", script]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = output
        try process.run()
        process.waitUntilExit()
        return (process.terminationStatus, try String(contentsOfFile: file, encoding: .utf8))
    }
}

/// Whether this machine can have a network namespace with these tools in it; says so when not.
private func canRun(_ tools: String...) -> Bool {
    let needs = (["unshare", "ip", "nsenter"] + tools).map { "command -v \($0)" }
    let check = (needs + ["unshare -n true"]).joined(separator: " && ")
    if let outcome = try? shell("(\(check)) >/dev/null 2>&1"), outcome.code == 0 { return true }
    let warning =
        "NOT TESTED: firewall rules in force need root and \(tools.joined(separator: ", "))\n"
    FileHandle.standardError.write(Data(warning.utf8))
    return false
}

/// The rules of nats-1, in force in a network of their own, twice over, and who gets through.
///
/// Nothing listens there: what passes is refused at once, what is dropped gets no answer.
private func tryOut(_ apply: String, show: String, in folder: String) throws -> (
    code: Int32, output: String
) {
    try shell(
        """
        exec unshare -n bash -eu -o pipefail -c '
        unshare -n sleep 600 & peer=$!
        # Not TERM, which whoever runs the tests may have blocked.
        trap "kill -KILL $peer" EXIT
        # The namespace is there a moment after the process.
        until [ "$(readlink /proc/$peer/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
        ip link add here type veth peer name there
        ip link set there netns $peer
        ip link set lo up; ip link set here up
        ip address add 192.0.2.21/24 dev here
        ip -6 address add 2001:db8::21/64 dev here nodad
        inside="nsenter -t $peer -n"
        $inside ip link set there up
        $inside ip -6 address add 2001:db8::99/64 dev there nodad
        \(apply)
        \(show) >"$TMPDIR/first"
        \(apply)
        \(show) >"$TMPDIR/second"
        cmp "$TMPDIR/first" "$TMPDIR/second"
        # The least: a dropped connection fails after 3 s.
        $inside bash -c "echo 1 >/proc/sys/net/ipv4/tcp_syn_retries"
        try() {
            answer=$($inside bash -c "exec 3<>/dev/tcp/$2/$3" 2>&1) || true
            case "$answer" in *refused*) answer=passes;; *"timed out"*) answer=dropped;; esac
            echo "$1 $3 $answer" >"$TMPDIR/$3"
        }
        tryAll() {
            tries=""
            for port in 22 4222 6222 8222; do try $1 $2 $port & tries="$tries $!"; done
            wait $tries
            cat "$TMPDIR/22" "$TMPDIR/4222" "$TMPDIR/6222" "$TMPDIR/8222"
        }
        for caller in 22 31 51 99; do
            $inside ip address add 192.0.2.$caller/24 dev there
            tryAll $caller 192.0.2.21
            $inside ip address del 192.0.2.$caller/24 dev there
        done
        tryAll sixth 2001:db8::21
        '
        """.replacing("$TMPDIR", with: folder))
}

private let expected = """
    22 22 passes
    22 4222 dropped
    22 6222 passes
    22 8222 dropped
    31 22 passes
    31 4222 passes
    31 6222 dropped
    31 8222 dropped
    51 22 passes
    51 4222 dropped
    51 6222 dropped
    51 8222 passes
    99 22 passes
    99 4222 dropped
    99 6222 dropped
    99 8222 dropped
    sixth 22 passes
    sixth 4222 dropped
    sixth 6222 dropped
    sixth 8222 dropped

    """

@Suite(.serialized) struct FirewallRunTests {
    private let rules: FirewallRules

    init() throws {
        let inventory = try Inventory(exampleHosts)
        rules = FirewallRules(
            for: try #require(inventory.machine(called: "nats-1")), in: inventory)
    }

    @Test(.enabled(if: canRun("iptables-restore", "ip6tables-restore", "iptables-save")))
    func `iptables takes the rules of every machine`() throws {
        let inventory = try Inventory(
            exampleHosts.replacing("192.0.2.", with: "2001:db8::") + "\n2001:db8::60 operator-1\n")
        for machine in inventory.machines {
            let rules = FirewallRules(for: machine, in: inventory)
            for (program, family) in [
                ("iptables-restore", HostAddress.Family.ipv4), ("ip6tables-restore", .ipv6),
            ] {
                let outcome = try shell(
                    "unshare -n \(program) --noflush --test <<'END'\n\(rules.iptablesRestore(family))END\n"
                )
                #expect(outcome.code == 0, "\(machine.name): \(outcome.output)")
            }
        }
    }

    @Test(.enabled(if: canRun("iptables-restore", "ip6tables-restore", "iptables-save")))
    func `with iptables those get through who must, and twice is as once`() throws {
        try withTemporaryFolder { folder in
            try rules.iptablesScript.write(
                toFile: "\(folder)/rules", atomically: true, encoding: .utf8)
            // Counters and dates differ.
            let show =
                "for family in iptables ip6tables; do $family-save | grep -v \"^[#:]\"; done"
            let outcome = try tryOut("sh \(folder)/rules", show: show, in: folder)
            #expect(outcome.code == 0, "\(outcome.output)")
            #expect(outcome.output == expected)
        }
    }

    @Test(.enabled(if: canRun("nft")))
    func `with nftables those get through who must, and twice is as once`() throws {
        try withTemporaryFolder { folder in
            try rules.nftables.write(toFile: "\(folder)/rules", atomically: true, encoding: .utf8)
            let outcome = try tryOut("nft -f \(folder)/rules", show: "nft list ruleset", in: folder)
            #expect(outcome.code == 0, "\(outcome.output)")
            #expect(outcome.output == expected)
        }
    }
}
