import OwnedThreads
import Testing

@testable import Deployment

@Suite struct RemoteTests {
    private let machine: Machine

    init() throws {
        let inventory = try Inventory(exampleHosts)
        machine = try #require(inventory.machines.first)
    }

    @Test func `a script reads what follows it and says how it ended`() throws {
        let result = try LocalShell().run(
            "cat; echo oops >&2; exit 3", on: machine, input: .bytes(Array("more".utf8)))
        #expect(result.text == "more")
        #expect(result.errorText == "oops\n")
        #expect(result.status == 3)
        #expect(result.lastWords == "oops")
    }

    @Test func `large input and output pass each other`() throws {
        let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0) }
        let result = try LocalShell().run("cat", on: machine, input: .bytes(bytes))
        #expect(result.output == bytes)
    }

    @Test func `a script that reads nothing of its input is no error`() throws {
        let bytes = [UInt8](repeating: 0, count: 3_000_000)
        let result = try LocalShell().run("exit 0", on: machine, input: .bytes(bytes))
        #expect(result.status == 0)
    }

    @Test func `output beyond the bound is cut and said so`() throws {
        var command = ChildCommand("sh", ["-c", "printf 0123456789"], timeout: .seconds(60))
        command.keptByteMax = 4
        let result = try command.run()
        #expect(String(decoding: result.output, as: UTF8.self) == "0123")
        #expect(result.isCut)
    }

    @Test func `a command that takes too long is killed with its children`() throws {
        let command = ChildCommand("sh", ["-c", "sleep 1000 & wait"], timeout: .milliseconds(50))
        #expect(throws: ChildCommand.Failure.timedOut) { try command.run() }
    }

    @Test func `a wish to stop ends a command`() throws {
        var command = ChildCommand("sleep", ["1000"], timeout: .seconds(500))
        command.isStopped = { true }
        #expect(throws: ChildCommand.Failure.stopped) { try command.run() }
    }

    @Test func `a daemon that keeps the output open does not keep us`() throws {
        let result = try ChildCommand(
            "sh", ["-c", "sleep 20 & echo $!"], timeout: .seconds(15)
        ).run()
        #expect(result.status == 0)
        let pid = result.text.split(separator: "\n").joined()
        _ = try ChildCommand("kill", [pid], timeout: .seconds(5)).run()
    }

    @Test func `an input that is held ends when it shall`() throws {
        let isOver = Monitor(false)
        let result = try LocalShell().run(
            "echo ready; cat", on: machine,
            input: .held(
                isOver: { isOver.withLock { $0 } }, after: Array("first".utf8)),
            timeout: .seconds(60)
        ) { _ in isOver.update { $0 = true } }
        #expect(result.status == 0)
    }

    @Test func `any text is one word of a shell`() throws {
        let text = "a'b\"c $(id) `id` \\ \n d*"
        let result = try LocalShell().run("printf %s \(shellQuoted(text))", on: machine)
        #expect(result.text == text)
    }

    @Test(arguments: [
        (
            "Host key verification failed.", RemoteError.Code.hostKeyUnknown,
            "ssh-keyscan 192.0.2.11"
        ),
        ("root@192.0.2.11: Permission denied (publickey).", .keyRefused, "--ssh-key"),
        ("ssh: connect to host x port 22: Connection refused", .unreachable, "port 22"),
        ("ssh: connect to host x port 22: No route to host", .unreachable, "no route"),
        ("ssh: connect to host x port 22: Connection timed out", .timedOut, "firewall"),
    ])
    func `what ssh says becomes one line with advice`(
        words: String, code: RemoteError.Code, part: String
    ) throws {
        let error = try #require(RemoteError(sshSaid: words, on: machine, SSHOptions()))
        #expect(error.code == code)
        #expect("\(error)".contains(part))
        #expect(!"\(error)".contains("\n"))
    }

    @Test(arguments: [
        (SSHOptions(), "it takes no key of the agent, of ~/.ssh or of ~/.ssh/config for"),
        (SSHOptions(keyFile: "k", configFile: "c"), "it does not take the key k for"),
        (
            SSHOptions(configFile: "c"),
            "it takes no key that c names (IdentityFile) or leaves to ssh for"
        ),
    ])
    func `a refused key is called by where it is from`(options: SSHOptions, part: String) {
        let error = RemoteError(
            sshSaid: "root@192.0.2.11: Permission denied (publickey).", on: machine, options)
        #expect(error?.message.hasPrefix(part) == true)
    }

    @Test func `a key that others may read is called by its name, whatever follows from it`() {
        let words = """
            @         WARNING: UNPROTECTED PRIVATE KEY FILE!          @
            Permissions 0644 for '/operator/id_ed25519' are too open.
            root@192.0.2.11: Permission denied (publickey).
            """
        let error = RemoteError(sshSaid: words, on: machine, SSHOptions(configFile: "c"))
        #expect(error?.code == .local)
        #expect(error?.message.contains("the key /operator/id_ed25519,") == true)
    }

    @Test func `sudo that wants a password is told from a failed script`() throws {
        let options = SSHOptions(user: "deploy")
        let error = RemoteError(
            sudoSaid: "sudo: a password is required\n", on: machine, options)
        #expect(error?.code == .sudoNeedsPassword)
        #expect(RemoteError(sudoSaid: "cat: x: No such file", on: machine, options) == nil)
    }

    @Test func `work on several machines comes back in their order`() {
        let values = inParallel(Array(0..<50), limit: 7) { $0 * 2 }
        #expect(values == (0..<50).map { $0 * 2 })
    }
}

/// Runs scripts on this machine as ``RemoteShell`` does elsewhere.
struct LocalShell: MachineShell {
    /// Of each machine, by its name.
    var environment: @Sendable (Machine) -> [String: String] = { _ in [:] }

    func run(
        _ script: String, on machine: Machine, input: ScriptInput, timeout: Duration,
        onOutput: ((ArraySlice<UInt8>) -> Void)?
    ) throws(RemoteError) -> ScriptOutput {
        var command = ChildCommand(
            "sh", ["-c", ScriptInput.shellCommand(scriptBytes: script.utf8.count)],
            timeout: timeout)
        command.input = input.after(script)
        command.environment = environment(machine)
        do throws(ChildCommand.Failure) {
            return try command.run(onOutput: onOutput)
        } catch {
            throw RemoteError(.local, machine, "\(error)")
        }
    }
}
