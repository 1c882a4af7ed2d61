/// Why a machine could not do what was asked: one line, with what to do about it.
package struct RemoteError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: Sendable, Equatable {
        case hostKeyUnknown, hostKeyChanged, keyRefused, unreachable, timedOut
        case sudoNeedsPassword, sudoMissing
        /// Of ssh itself, or of this machine.
        case local
        /// The script ended so.
        case failed(status: Int32)
        /// The caller wanted to stop.
        case stopped
    }

    package let code: Code
    /// The machine's name and address.
    package let machine: String
    /// Without the machine.
    package let message: String

    package init(_ code: Code, _ machine: Machine, _ message: String) {
        self.code = code
        self.machine = "\(machine.name) (\(machine.address))"
        self.message = message
    }

    package var description: String { "\(machine): \(message)" }
}

extension RemoteError {
    /// What ssh's own words mean, when it ended with its own status, 255; nil when they are not known.
    init?(sshSaid words: String, on machine: Machine, _ options: SSHOptions) {
        let address = machine.address.text
        let port = options.port.map { "-p \($0) " } ?? ""
        func has(_ text: String) -> Bool { words.contains(text) }
        if has("REMOTE HOST IDENTIFICATION HAS CHANGED")
            || has("has changed and you have requested")
        {
            self.init(
                .hostKeyChanged, machine,
                "its host key is not the one in known_hosts. If the machine was installed anew: "
                    + "ssh-keygen -R \(options.knownHostsName(address)), then ssh-keyscan \(port)\(address) >> "
                    + "~/.ssh/known_hosts; else somebody stands between")
        } else if has("Host key verification failed") {
            self.init(
                .hostKeyUnknown, machine,
                "its host key is not known; compare what ssh-keyscan \(port)\(address) prints with the "
                    + "machine's own /etc/ssh/ssh_host_*_key.pub and append it to ~/.ssh/known_hosts"
            )
        } else if has("UNPROTECTED PRIVATE KEY FILE") {
            // Said before "Permission denied", which follows from it.
            let key = Self.quoted(in: words, after: " for ") ?? options.keyFile
            self.init(
                .local, machine,
                "others may read the key\(key.map { " \($0)" } ?? ""), so ssh does not use it; chmod 600 it"
            )
        } else if has("Permission denied") {
            self.init(
                .keyRefused, machine,
                "\(options.refusal) for the user \(options.user); name another with --ssh-key or --ssh-user, or "
                    + "append the public key to that user's ~/.ssh/authorized_keys there")
        } else if has("Connection refused") {
            self.init(
                .unreachable, machine,
                "nothing listens at its port \(options.port ?? 22); is sshd running, is it another port "
                    + "(--ssh-port)?")
        } else if has("No route to host") || has("Network is unreachable") {
            self.init(
                .unreachable, machine,
                "no route to it; is the address in the hosts file right, and the machine on?")
        } else if has("timed out") {
            self.init(
                .timedOut, machine,
                "it did not answer within \(MachineShellTimes.connectSeconds) s; is the machine on, does a "
                    + "firewall drop SSH?")
        } else if has("Could not resolve hostname") {
            self.init(.unreachable, machine, "ssh cannot resolve its name; see --ssh-config")
        } else {
            return nil
        }
    }

    /// What stands in single quotes after `mark`.
    private static func quoted(in words: String, after mark: String) -> String? {
        guard let start = words.firstRange(of: "\(mark)'") else { return nil }
        let name = words[start.upperBound...].prefix { $0 != "'" && $0 != "\n" }
        return name.isEmpty ? nil : PrintableText.line(String(name))
    }

    /// What sudo's words mean; nil when they are not sudo's.
    init?(sudoSaid words: String, on machine: Machine, _ options: SSHOptions) {
        if words.contains("sudo: a password is required")
            || words.contains("sudo: a terminal is required")
        {
            self.init(
                .sudoNeedsPassword, machine,
                "sudo wants a password of \(options.user); allow it without one (NOPASSWD in "
                    + "/etc/sudoers.d), or come as root: --ssh-user root")
        } else if words.contains("not in the sudoers file") || words.contains("sudo: not found")
            || words.contains("sudo: command not found")
        {
            self.init(
                .sudoMissing, machine,
                "\(options.user) may not become root by sudo; install and allow it, or come as root: "
                    + "--ssh-user root")
        } else {
            return nil
        }
    }
}
