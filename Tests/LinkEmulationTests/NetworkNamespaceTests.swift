import Glibc
import OwnedThreads
import PrivateServers
import TestKit
import Testing

@testable import LinkEmulation

extension OnRealNamespaces {
    @Suite struct NetworkNamespaceTests {
        @Test func `two namespaces use the same address without knowing of each other`()
            async throws
        {
            let namespaces = try ["one", "two"].map { try NetworkNamespace(named: $0) }
            var sockets: [IPSocket] = []
            for namespace in namespaces {
                sockets.append(
                    try await namespace.run {
                        let socket = try IPSocket(datagramsOf: AF_INET)
                        try socket.bind("127.0.0.1", 9)
                        return socket
                    })
            }
            #expect(namespaces[0].identifier != namespaces[1].identifier)
            // lo is up.
            let echoed = try await namespaces[0].run { [sockets] in
                let client = try IPSocket(datagramsOf: AF_INET)
                try client.connect("127.0.0.1", 9)
                try client.send([1])
                return sockets[0].receive()
            }
            #expect(echoed == [1])
            #expect(sockets[1].receive(waiting: false) == nil)
        }

        @Test func `what is thrown inside is thrown outside`() async throws {
            struct Failure: Error {}
            let namespace = try NetworkNamespace(named: "one")
            await #expect(throws: Failure.self) { try await namespace.run { throw Failure() } }
        }

        @Test func `a namespace that is closed cannot be entered`() async throws {
            let namespace = try NetworkNamespace(named: "one")
            namespace.close()
            await #expect(throws: LinkEmulationError.closed(name: "one")) {
                try await namespace.run {}
            }
            #expect(throws: LinkEmulationError.closed(name: "one")) {
                try namespace.startThread(named: "never") {}
            }
        }

        @Test func `threads and processes begin in the namespace of who starts them`()
            async throws
        {
            let link = try EmulatedLink(seed: 1)
            defer { link.close() }
            let (ofThread, ofProcess) = try await link.a.run {
                let seen = Monitor<String?>(nil)
                let thread = OwnedThread(name: "inside") {
                    let devices = contents(of: "/proc/thread-self/net/dev")
                    seen.update { $0 = devices }
                }
                thread.join()
                let printed = try withTemporaryFolder { folder in
                    let process = try PrivateProcess(
                        .init(
                            name: "cat", executable: "/bin/cat", arguments: ["/proc/self/net/dev"],
                            logFile: "\(folder)/log", pidFile: "\(folder)/pid"))
                    #expect(process.waitForExit(within: .seconds(20)) == .code(0))
                    return contents(of: "\(folder)/log")
                }
                return (seen.withLock { $0 }, printed)
            }
            for devices in [ofThread, ofProcess] {
                let devices = try #require(devices)
                #expect(devices.contains("link0a"))
                #expect(!devices.contains("link0b"))
            }
            #expect(contents(of: "/proc/thread-self/net/dev")?.contains("link0a") == false)
        }

        @Test func `links through a middle add up`() async throws {
            let client = try NetworkNamespace(named: "client")
            let middle = try NetworkNamespace(named: "middle")
            let server = try NetworkNamespace(named: "server")
            let access = try EmulatedLink(between: client, and: middle, number: 1, seed: 1)
            defer { access.close() }
            let core = try EmulatedLink(between: middle, and: server, number: 2, seed: 2)
            defer { core.close() }
            try middle.forwardPackets()
            for everything in ["0.0.0.0/0", "::/0"] {
                try await access.a.addRoute(to: everything)
                try await core.b.addRoute(to: everything)
            }
            access.set(Impairment(delay: .milliseconds(4)))
            core.set(Impairment(delay: .milliseconds(3)))
            for host in [core.b.ipv4, core.b.ipv6] {
                let echo = try EchoServer(at: core.b, host: host)
                defer { echo.stop() }
                let times = try await client.run { try roundTrips(40, to: host) }
                #expect(times.allSatisfy { $0 >= .milliseconds(14) })
                #expect(median(times) < .milliseconds(16))
            }
        }

        @Test func `a route that makes no sense is refused by name`() async throws {
            let link = try EmulatedLink(seed: 1)
            defer { link.close() }
            for text in ["198.18.0.0", "198.18.0.0/33", "somewhere/8", "::/129"] {
                await #expect(
                    throws: LinkEmulationError.invalid(
                        what: "an address with a prefix length", text: text)
                ) {
                    try await link.a.addRoute(to: text)
                }
            }
        }

        @Test func `closing frees devices, descriptors, threads and namespaces`() async throws {
            var identifiers: [UInt64] = []
            let number = 777
            do {
                let a = try NetworkNamespace(named: "one")
                let b = try NetworkNamespace(named: "two")
                let link = try EmulatedLink(between: a, and: b, number: number, seed: 1)
                link.set(Impairment(delay: .seconds(100)))
                identifiers = [a.identifier, b.identifier]
                let host = link.b.ipv4
                try await link.a.run {
                    let socket = try IPSocket(datagramsOf: AF_INET)
                    try socket.connect(host, 9)
                    try socket.send([1])
                }
                #expect(eventually { link.counters(.aToB).inside == 1 })
                #expect(traces(ofLink: number, identifiers) > 0)
                link.close()
                link.close()
                #expect(link.counters(.aToB).missed == nil)
                let devices = try await a.run { contents(of: "/proc/thread-self/net/dev") }
                #expect(devices?.contains("link\(number)a") == false)
                _ = consume a
                _ = consume b
            }
            // The kernel may take a moment to end a thread that was joined.
            #expect(eventually { traces(ofLink: number, identifiers) == 0 })
        }

        @Test func `many links, one after the other, leave nothing behind`() throws {
            let count = 64
            let before = openDescriptorsAndThreads()
            for seed in 0..<count { try EmulatedLink(seed: UInt64(seed)).close() }
            // Other tests go on beside this one; a descriptor or a thread kept by each link would show.
            #expect(eventually { openDescriptorsAndThreads() < before + count })
        }

        private func openDescriptorsAndThreads() -> Int {
            entries(of: "/proc/self/fd").count + entries(of: "/proc/self/task").count
        }

        /// How many descriptors and threads of this process belong to a link or its namespaces.
        private func traces(ofLink number: Int, _ namespaces: [UInt64]) -> Int {
            let names = namespaces.map { "net:[\($0)]" }
            let descriptors = entries(of: "/proc/self/fd").count { descriptor in
                if names.contains(target(of: "/proc/self/fd/\(descriptor)") ?? "") { return true }
                let details = contents(of: "/proc/self/fdinfo/\(descriptor)") ?? ""
                return details.contains("iff:\tlink\(number)")
            }
            let threads = entries(of: "/proc/self/task").count { thread in
                names.contains(target(of: "/proc/self/task/\(thread)/ns/net") ?? "")
                    || contents(of: "/proc/self/task/\(thread)/comm") == "link \(number)\n"
            }
            return descriptors + threads
        }
    }
}

private func entries(of path: String) -> [String] {
    guard let folder = opendir(path) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
        names.append(
            withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 1) { String(cString: $0) }
            })
    }
    return names.filter { $0 != "." && $0 != ".." }
}

private func target(of path: String) -> String? {
    var bytes = [CChar](repeating: 0, count: 256)
    let count = readlink(path, &bytes, bytes.count)
    guard count > 0 else { return nil }
    return String(decoding: bytes.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

private func contents(of path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var text: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = fread(&part, 1, part.count, file)
        guard count > 0 else { return String(decoding: text, as: UTF8.self) }
        text += part.prefix(count)
    }
}
