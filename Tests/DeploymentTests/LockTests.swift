import Foundation
import Testing

@testable import Deployment

@Suite struct LockTests {
    private let folder: String
    private let machine: Machine

    init() throws {
        let base = FileManager.default.temporaryDirectory.appending(path: "qoe-lock-\(UUID())")
        try FileManager.default.createDirectory(at: base, withIntermediateDirectories: true)
        folder = base.path
        machine = try #require(try Inventory(onOneMachine()).machines.first)
    }

    private func take(_ holder: String) throws -> FleetLock {
        try FleetLock.take([machine], LocalShell(), holder: holder, path: "\(folder)/lock")
    }

    @Test func `a machine that another changes is left to him, with one line that says who`() throws
    {
        let first = try take("anna@desk (qoectl deploy apply)")
        #expect(first.failures.isEmpty)
        let refusal = #expect(throws: DeploymentFailure.self) { try take("ben@desk") }
        #expect(refusal?.problems.count == 1)
        #expect(
            refusal?.description.hasPrefix(
                "postgres-primary (192.0.2.1) is being changed by anna@desk (qoectl deploy apply) since 20"
            )
                == true)
        first.release()
        try take("ben@desk").release()
    }

    @Test func `a lock ends with its session`() throws {
        let file = "\(folder)/lock"
        // As FleetLock's, of somebody whose session ends by a signal.
        _ = try ChildCommand(
            "sh", ["-c", "exec 9>> \(file); flock -n 9; kill -KILL $$"], timeout: .seconds(20)
        ).run()
        try take("anna@desk").release()
    }

    @Test func `a machine without flock is not taken for one that another has`() throws {
        var shell = LocalShell()
        let bare = "\(folder)/bin"
        try FileManager.default.createDirectory(atPath: bare, withIntermediateDirectories: true)
        for name in ["sh", "dd", "date", "cat", "head"] {
            try FileManager.default.createSymbolicLink(
                atPath: "\(bare)/\(name)", withDestinationPath: "/bin/\(name)")
        }
        shell.environment = { _ in ["PATH": bare] }
        let lock = try FleetLock.take([machine], shell, holder: "anna", path: "\(folder)/lock")
        defer { lock.release() }
        #expect(lock.failures.count == 1)
    }

    @Test func `a machine that cannot be asked is not locked, and said so`() throws {
        let lock = try FleetLock.take(
            [machine], LocalShell(), holder: "anna", path: "\(folder)/none/lock")
        defer { lock.release() }
        #expect(lock.failures.map(\.machine) == ["postgres-primary (192.0.2.1)"])
    }

    @Test func `a folder that is in use is left alone, with one line that says by whom`() throws {
        func hold(_ holder: String, _ body: () throws -> Void) throws {
            try FileLock.hold(
                "\(folder)/.lock", of: "installation", holder: holder, body)
        }
        var inner: String?
        try hold("anna@desk (qoectl deploy upgrade) since noon") {
            do {
                try hold("ben@desk") {}
            } catch {
                inner = "\(error)"
            }
        }
        #expect(
            inner?.hasPrefix(
                "installation is in use by anna@desk (qoectl deploy upgrade) since noon, process ")
                == true)
        try hold("ben@desk") {}
    }
}
