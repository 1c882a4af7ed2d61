extension FirewallRules {
    /// The chain of iptables and the table of nftables that are ours alone.
    private static let chain = "QOE"
    private static let table = "qoe"
    /// What xt_comment takes is 255 bytes; a long list of callers is cut.
    private static let commentByteMax = 120

    /// The rules for `iptables-restore --noflush` or `ip6tables-restore --noflush`: our chain anew, nothing else.
    ///
    /// The chain does nothing until INPUT jumps to it; ``iptablesScript`` sees to that too.
    package func iptablesRestore(_ family: HostAddress.Family) -> String {
        var lines = [
            "*filter", ":\(Self.chain) - [0:0]", "-F \(Self.chain)",
            "-A \(Self.chain) -i lo -j RETURN",
            "-A \(Self.chain) -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
        ]
        lines += rules(family).map { rule in
            let source = rule.source.map { "-s \($0) " } ?? ""
            return "-A \(Self.chain) \(source)-p tcp -m tcp --dport \(rule.port) "
                + "-m comment --comment \"\(Self.comment(rule))\" "
                + "-j \(rule.verdict == .pass ? "RETURN" : "DROP")"
        }
        return (lines + ["COMMIT"]).joined(separator: "\n") + "\n"
    }

    /// A shell script that puts both families' rules in force, for root; to run it twice changes nothing.
    package var iptablesScript: String {
        """
        #!/bin/sh
        # Firewall of \(machine.name) (\(machine.address)), by qoectl deploy firewall. Run it as root; again does no harm.
        # Take it away: for f in iptables ip6tables; do $f -D INPUT -j QOE; $f -F QOE; $f -X QOE; done
        set -eu
        iptables-restore --wait --noflush <<'END'
        \(iptablesRestore(.ipv4))END
        iptables --wait -C INPUT -j \(Self.chain) 2>/dev/null || iptables --wait -I INPUT 1 -j \(Self.chain)
        # Nothing to close where the kernel has no IPv6.
        [ -e /proc/net/if_inet6 ] || exit 0
        ip6tables-restore --wait --noflush <<'END'
        \(iptablesRestore(.ipv6))END
        ip6tables --wait -C INPUT -j \(Self.chain) 2>/dev/null || ip6tables --wait -I INPUT 1 -j \(Self.chain)

        """
    }

    /// The rules for `nft -f`: both families in a table of our own, replaced as a whole in one step.
    package var nftables: String {
        var lines = [
            "# Firewall of \(machine.name) (\(machine.address)), by qoectl deploy firewall.",
            "# nft -f FILE as root; again does no harm. Take it away: nft delete table inet \(Self.table)",
            // Made if missing, so that the deletion finds something.
            "table inet \(Self.table)",
            "delete table inet \(Self.table)",
            "table inet \(Self.table) {",
            "    chain input {",
            "        type filter hook input priority -1; policy accept;",
            "        iifname \"lo\" accept",
            "        ct state established,related accept",
        ]
        lines += rules.map { rule in
            let source =
                rule.source.map { "\($0.family == .ipv4 ? "ip" : "ip6") saddr \($0) " } ?? ""
            return "        \(source)tcp dport \(rule.port) "
                + "\(rule.verdict == .pass ? "accept" : "drop") comment \"\(Self.comment(rule))\""
        }
        return (lines + ["    }", "}"]).joined(separator: "\n") + "\n"
    }

    private static func comment(_ rule: Rule) -> String {
        let text = rule.reason.utf8
        guard text.count > commentByteMax else { return rule.reason }
        return String(decoding: text.prefix(commentByteMax - 3), as: UTF8.self) + "..."
    }
}
