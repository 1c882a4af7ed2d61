import Glibc
import OwnedThreads
import ProbeCore
import TestKit
import Testing

@testable import ProbeCore

/// What happens to a process of its own: it is killed, or its disk is full.
@Suite(.serialized) struct SpoolFaultTests {
    @Test func `a kill in the middle of appending loses nothing that was appended`() async throws {
        let folder = try OwnFolder()
        var kept: [EventName] = []
        for round in 1...6 as ClosedRange<UInt64> {
            await #expect(processExitsWith: .signal(SIGKILL)) {
                [path = folder.path as String, round = round as UInt64] in
                try appendUntilKilled(in: path, session: round)
            }
            let appended = try bytes(of: "\(folder.path)/appended")
            let count = appended.span.bytes.littleEndian(at: 0, as: UInt64.self)
            let spool = try Spool(stateFolder: folder.path, logger: silentLogger)
            let found = spool.waiting().map { EventName($0) }
            // The one that was being written may be there as well.
            let certain = kept + (0..<count).map { EventName(round, $0 + 1) }
            #expect(
                found == certain || found == certain + [EventName(round, count + 1)],
                "round \(round), \(count) appended")
            #expect(spool.status.dropped == 0)
            kept = found
        }
        #expect(kept.count > 6)
    }

    /// A limit on the size of files ends a write in its middle, as a full disk does.
    @Test func `when files cannot grow events wait in memory, and go to disk when they can`()
        async throws
    {
        let folder = try OwnFolder()
        await #expect(processExitsWith: .success) { [path = folder.path as String] in
            signal(SIGXFSZ, SIG_IGN)
            let spool = try Spool(stateFolder: path, logger: silentLogger)
            for number in 1...50 { spool.append(spoolEvent(UInt64(number))) }
            try limitFiles(to: 10_000)
            for number in 51...300 { spool.append(spoolEvent(UInt64(number))) }
            let status = spool.status
            try require(status.inMemory > 100 && !status.isDiskUsable && status.depth == 300)
            try require(status.diskFailures == 1 && status.dropped == 0)
            // Nothing that is posted meanwhile is posted twice or forgotten.
            let batch = spool.take(
                SpoolRequest(countMax: 20, bytesMax: 1 << 20), nowMilliseconds: testNow)
            spool.finish(batch, refused: [])
            try limitFiles(to: nil)
            spool.retryDisk()
            try require(spool.status.inMemory == 0 && spool.status.isDiskUsable)
            try require(spool.status.depth == 280)
        }
        let spool = try Spool(stateFolder: folder.path, logger: silentLogger)
        let numbers = spool.waiting().map(\.number)
        #expect(Set(numbers).count == 280)
        #expect(numbers.count == 280)
    }

    @Test func `a full file system loses only what memory cannot hold, and names it`() async throws
    {
        let folder = try OwnFolder()
        await #expect(processExitsWith: .success) { [path = folder.path as String] in
            guard mountSmallFileSystem(at: path, byteCount: 128 << 10) else {
                // Without the right to mount there is nothing to test here.
                return
            }
            var limits = SpoolLimits()
            limits.memoryCountMax = 100
            var spool: Spool? = try Spool(
                stateFolder: path, limits: limits, logger: silentLogger)
            for number in 1...1500 { spool?.append(spoolEvent(UInt64(number))) }
            guard let status = spool?.status, let names = spool?.ledger.names,
                let waiting = spool?.waiting()
            else { return }
            try require(!status.isDiskUsable && status.inMemory == 100)
            try require(
                Set(names).union(waiting.map { EventName($0) })
                    == Set((1...1500).map { EventName(1, $0) }))
            try require(names.count + waiting.count == 1500)
            // What is on disk outlives the process; what is in memory was never promised to.
            spool = nil
            let reopened = try Spool(stateFolder: path, limits: limits, logger: silentLogger)
            try require(reopened.status.depth == waiting.count - 100)
            // Delivery makes room, and the disk is used again.
            _ = reopened.drain()
            reopened.append(spoolEvent(1, session: 2))
            reopened.retryDisk()
            try require(reopened.status.isDiskUsable && reopened.status.inMemory == 0)
        }
    }

    @Test func `a read-only file system is delivered from, and new events wait in memory`()
        async throws
    {
        let folder = try OwnFolder()
        do {
            let spool = try Spool(stateFolder: folder.path, logger: silentLogger)
            for number in 1...5 { spool.append(spoolEvent(UInt64(number))) }
        }
        await #expect(processExitsWith: .success) { [path = folder.path as String] in
            guard remountReadOnly(path) else { return }
            let spool = try Spool(stateFolder: path, logger: silentLogger)
            try require(spool.status.depth == 5)
            spool.append(spoolEvent(1, session: 2))
            try require(spool.status.inMemory == 1 && !spool.status.isDiskUsable)
            try require(spool.drain().count == 6)
            try require(spool.status.depth == 0)
        }
    }
}

private struct Unmet: Error {}

/// Ends the process with an error where `#expect` of the test itself is out of reach.
private func require(_ condition: Bool) throws {
    if !condition { throw Unmet() }
}

/// Appends events, noting how many were, until another thread kills the process.
private func appendUntilKilled(in folder: String, session: UInt64) throws {
    let spool = try Spool(stateFolder: folder, logger: silentLogger)
    let appended = try SpoolFile("\(folder)/appended", emptied: false)
    var zero: [UInt8] = []
    zero.append(littleEndian: UInt64(0))
    try appended.write(zero, at: 0)
    let killer = OwnedThread(name: "killer") {
        usleep(UInt32.random(in: 1_000...30_000))
        kill(getpid(), SIGKILL)
    }
    var number: UInt64 = 0
    while true {
        number += 1
        spool.append(spoolEvent(number, session: session, jsonBytes: Int(number % 400)))
        var bytes: [UInt8] = []
        bytes.append(littleEndian: number)
        try appended.write(bytes, at: 0)
        if number > 50_000 { killer.join() }
    }
}

/// Sets the size that files of this process may reach; nil for what the system allows.
private func limitFiles(to byteCount: rlim_t?) throws {
    var limit = rlimit()
    let kind = __rlimit_resource_t(RLIMIT_FSIZE.rawValue)
    try require(getrlimit(kind, &limit) == 0)
    limit.rlim_cur = byteCount ?? limit.rlim_max
    try require(setrlimit(kind, &limit) == 0)
}

private typealias Mount =
    @convention(c) (
        UnsafePointer<CChar>?, UnsafePointer<CChar>, UnsafePointer<CChar>?, CUnsignedLong,
        UnsafePointer<CChar>?
    ) -> CInt
private typealias Unshare = @convention(c) (CInt) -> CInt

/// mount(2) in a namespace that goes with the calling thread; false without the right to it.
private func mountAlone(
    _ source: String, _ target: String, _ kind: String?, _ flags: CUnsignedLong, _ options: String?
) -> Bool {
    // Neither is visible to Swift.
    guard let unshareAddress = dlsym(nil, "unshare"), let mountAddress = dlsym(nil, "mount") else {
        return false
    }
    let unshare = unsafeBitCast(unshareAddress, to: Unshare.self)
    let mount = unsafeBitCast(mountAddress, to: Mount.self)
    let newMounts: CInt = 0x0002_0000
    let recursivelyPrivate: CUnsignedLong = 16384 | (1 << 18)
    return unshare(newMounts) == 0 && mount("none", "/", nil, recursivelyPrivate, nil) == 0
        && mount(source, target, kind, flags, options) == 0
}

private func mountSmallFileSystem(at path: String, byteCount: Int) -> Bool {
    mountAlone("tmpfs", path, "tmpfs", 0, "size=\(byteCount)")
}

private func remountReadOnly(_ path: String) -> Bool {
    let bind: CUnsignedLong = 4096
    let remountReadOnly: CUnsignedLong = 32 | 1
    guard mountAlone(path, path, nil, bind, nil), let address = dlsym(nil, "mount") else {
        return false
    }
    let mount = unsafeBitCast(address, to: Mount.self)
    return mount("none", path, nil, bind | remountReadOnly, nil) == 0
}
