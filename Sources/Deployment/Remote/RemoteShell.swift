internal import Glibc

/// How machines are reached.
package struct SSHOptions: Sendable, Hashable {
    /// Any but root goes on by `sudo -n`.
    package var user = "root"
    package var keyFile: String?
    /// Read instead of ~/.ssh/config.
    package var configFile: String?
    package var port: UInt16?

    package init(
        user: String = "root", keyFile: String? = nil, configFile: String? = nil,
        port: UInt16? = nil
    ) {
        self.user = user
        self.keyFile = keyFile
        self.configFile = configFile
        self.port = port
    }

    /// Which keys a machine that refuses us did not take.
    var refusal: String {
        if let keyFile { return "it does not take the key \(keyFile)" }
        if let configFile {
            return "it takes no key that \(configFile) names (IdentityFile) or leaves to ssh"
        }
        return "it takes no key of the agent, of ~/.ssh or of ~/.ssh/config"
    }

    /// As a known_hosts file calls a machine.
    func knownHostsName(_ address: String) -> String {
        guard let port, port != 22 else { return address }
        return "'[\(address)]:\(port)'"
    }
}

/// Runs scripts on machines by the system's ssh client, as root.
///
/// It is called with the machine's address, asks nothing, and takes known host keys only. All calls to a machine share
/// one connection, which ends with this object, or soon after.
package final class RemoteShell: MachineShell {
    private let options: SSHOptions
    private let isStopped: @Sendable () -> Bool
    /// Nil when none could be made: then each call connects by itself.
    private let folder: String?

    private static let lingerSeconds = 60
    /// sockaddr_un has 108 bytes, of which ssh wants 17 for a temporary name.
    private static let socketPathMax = 90
    private static let sshStatus: Int32 = 255

    /// - Parameter isStopped: Asked often; calls under way end when it says so.
    package init(_ options: SSHOptions, isStopped: @escaping @Sendable () -> Bool = { false }) {
        self.options = options
        self.isStopped = isStopped
        let base = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp"
        var template = Array("\(base)/qoe-ssh-XXXXXX".utf8CString)
        let isMade = unsafe mkdtemp(&template) != nil
        folder =
            isMade
            ? String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            : nil
    }

    deinit {
        guard let folder, let listing = unsafe opendir(folder) else { return }
        while let entry = unsafe readdir(listing) {
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name != ".", name != ".." else { continue }
            let path = "\(folder)/\(name)"
            // What does not answer ends by ControlPersist.
            _ = try? ChildCommand(
                "ssh", ["-O", "exit", "-o", "ControlPath=\(path)", "qoe"], timeout: .seconds(2)
            ).run()
            _ = unsafe unlink(path)
        }
        unsafe closedir(listing)
        _ = unsafe rmdir(folder)
    }

    package func run(
        _ script: String, on machine: Machine, input: ScriptInput, timeout: Duration,
        onOutput: ((ArraySlice<UInt8>) -> Void)?
    ) throws(RemoteError) -> ScriptOutput {
        var command = ChildCommand(
            "ssh", arguments(for: machine, scriptBytes: script.utf8.count), timeout: timeout)
        // Its messages are read here.
        command.environment = ["LC_ALL": "C"]
        command.isStopped = isStopped
        command.input = input.after(script)
        let result: ScriptOutput
        do throws(ChildCommand.Failure) {
            result = try command.run(onOutput: onOutput)
        } catch {
            throw RemoteError(error, machine, timeout)
        }
        if result.status == Self.sshStatus {
            throw RemoteError(sshSaid: result.errorText, on: machine, options)
                ?? RemoteError(.local, machine, "ssh failed: \(result.lastWords)")
        }
        if result.status != 0, options.user != "root",
            let error = RemoteError(sudoSaid: result.errorText, on: machine, options)
        {
            throw error
        }
        return result
    }

    private func arguments(for machine: Machine, scriptBytes: Int) -> [String] {
        var arguments: [String] = []
        if let file = options.configFile { arguments += ["-F", file] }
        arguments += [
            "-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes",
            "-o", "ConnectTimeout=\(MachineShellTimes.connectSeconds)",
            // A machine that is gone is noticed within 30 s.
            "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3", "-o", "LogLevel=ERROR",
        ]
        if let folder {
            let path = "\(folder)/\(machine.address.text)"
            if path.utf8.count <= Self.socketPathMax {
                arguments += [
                    "-o", "ControlMaster=auto", "-o", "ControlPersist=\(Self.lingerSeconds)",
                    "-o", "ControlPath=\(path)",
                ]
            }
        }
        if let key = options.keyFile { arguments += ["-i", key, "-o", "IdentitiesOnly=yes"] }
        if let port = options.port { arguments += ["-p", "\(port)"] }
        let shell = ScriptInput.shellCommand(scriptBytes: scriptBytes)
        return arguments + [
            "-l", options.user, machine.address.text,
            options.user == "root" ? shell : "sudo -n \(shell)",
        ]
    }
}

extension ScriptInput {
    /// What `shellCommand(scriptBytes:)` reads: the script, then this.
    package func after(_ script: String) -> ScriptInput {
        switch self {
        case .none: .bytes(Array(script.utf8))
        case .bytes(let bytes): .bytes(Array(script.utf8) + bytes)
        case .file(let path, let before): .file(path: path, after: Array(script.utf8) + before)
        case .held(let isOver, let before):
            .held(isOver: isOver, after: Array(script.utf8) + before)
        }
    }

    /// A command that takes a script of so many bytes from its standard input and leaves what follows to the script.
    ///
    /// `sh -s` will not do: some read ahead, and what follows is lost. One byte at a time is what every dd does alike.
    package static func shellCommand(scriptBytes: Int) -> String {
        #"sh -c 'eval "$(dd bs=1 count=\#(scriptBytes) 2>/dev/null)"'"#
    }
}

extension RemoteError {
    init(_ failure: ChildCommand.Failure, _ machine: Machine, _ timeout: Duration) {
        switch failure {
        case .timedOut:
            self.init(
                .timedOut, machine,
                "it took longer than \(timeout.components.seconds) s and was given up")
        case .stopped: self.init(.stopped, machine, "stopped")
        case .system(let call, let code):
            let why = unsafe String(cString: strerror(code))
            let advice =
                code == ENOENT && call.hasPrefix("start") ? "; apt install openssh-client" : ""
            self.init(.local, machine, "cannot \(call): \(why)\(advice)")
        }
    }
}
