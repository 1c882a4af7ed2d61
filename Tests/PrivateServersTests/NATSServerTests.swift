import Foundation
import Glibc
import PrivateServers
import TestKit
import Testing

struct NATSServerTests {
    @Test func `a server restarts on the same port after a stop and after a crash`() throws {
        try withNATSServer { server in
            let port = server.port
            let first = server.processIdentifier
            try server.stop()
            #expect(!server.isRunning)
            #expect(server.exit != .signal(SIGKILL))
            try server.restart()
            #expect(server.isRunning)
            #expect(server.processIdentifier != first)
            try server.kill()
            #expect(server.exit == .signal(SIGKILL))
            try server.restart()
            #expect(server.port == port)
        }
    }

    @Test func `a frozen server can be stopped`() throws {
        try withNATSServer { server in
            server.pause()
            try server.stop()
            #expect(!server.isRunning)
        }
    }

    @Test func `a second server on the same data folder is refused`() throws {
        try withNATSServer { server in
            #expect {
                try NATSServer(server.settings)
            } throws: { error in
                guard case .alreadyRunning(_, let pid, _) = error as? PrivateServerError else {
                    return false
                }
                return pid == server.processIdentifier
            }
        }
    }

    @Test func `a taken port is told with the log's place`() throws {
        try withNATSServer { server in
            #expect(throws: PrivateServerError.self) {
                try withNATSServer(configure: { $0.port = server.port }) { _ in }
            }
        }
    }

    @Test func `a stale pid file does not block a start`() throws {
        try withTemporaryFolder { folder in
            let file = try #require(fopen("\(folder)/nats-server.pid", "w"))
            fputs("\(getpid()) 1\n", file)
            fclose(file)
            let server = try NATSServer(NATSServer.Settings(dataFolder: folder))
            try server.stop()
            #expect(access("\(folder)/nats-server.pid", F_OK) != 0)
        }
    }

    @Test func `a missing program is told with its package`() {
        #expect {
            try InstalledProgram.find("no-such-server", debianPackage: "some-package")
        } throws: { error in
            "\(error)".contains("apt install some-package")
        }
    }

    @Test func `settings out of range are refused`() {
        var settings = NATSServer.Settings(dataFolder: "/nonexistent")
        settings.port = 70_000
        #expect(throws: PrivateServerError.self) { try NATSServer(settings) }
    }

    @Test func `a child leads its own process group and inherits no open file`() throws {
        try withTemporaryFolder { folder in
            // A high number, which nothing of the shell's own takes.
            let original = open("/dev/null", O_RDONLY)
            let inherited = dup2(original, 300)
            close(original)
            defer { close(inherited) }
            let log = "\(folder)/log"
            let process = try PrivateProcess(
                PrivateProcess.Launch(
                    name: "sh", executable: "/bin/sh",
                    arguments: [
                        "-c", "test -e /proc/$$/fd/300; echo $?; cut -d' ' -f5 /proc/$$/stat",
                    ],
                    logFile: log, pidFile: "\(folder)/pid"))
            #expect(process.waitForExit(within: .seconds(10)) == .code(0))
            let words = try String(contentsOfFile: log, encoding: .utf8)
                .split(whereSeparator: \.isWhitespace)
            #expect(words == ["1", "\(process.processIdentifier)"])
        }
    }

    @Test func `the kernel tells a child when its parent is gone`() throws {
        try withTemporaryFolder { folder in
            let log = "\(folder)/log"
            let process = try PrivateProcess(
                PrivateProcess.Launch(
                    name: "setpriv",
                    executable: try InstalledProgram.find("setpriv", debianPackage: ""),
                    arguments: ["--dump"], logFile: log, pidFile: "\(folder)/pid"))
            #expect(process.waitForExit(within: .seconds(10)) == .code(0))
            let dump = try String(contentsOfFile: log, encoding: .utf8)
            #expect(dump.contains("Parent death signal: TERM"))
        }
    }
}
