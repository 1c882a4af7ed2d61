import OwnedThreads
import Testing

@testable import Transport

@Suite struct DatagramSocketTests {
    @Test(arguments: ["127.0.0.1", "::1"])
    func `a packet arrives whole, with its source and the kernel's time`(host: String) throws {
        let server = try bound(host)
        let address = try #require(server.localAddress)
        let client = try DatagramSocket.udp(address.family)
        try client.connect(to: address)
        // Stamping begins a moment after the first socket asked for it.
        var isKernelTimed = false
        for number in 0..<50 as Range<UInt8> where !isKernelTimed {
            #expect(try server.receive() == nil)
            let before = MonotonicInstant.now()
            try client.send([1, 2, number])
            let packet = try #require(try nextPacket(of: server))
            #expect(packet.bytes == [1, 2, number])
            #expect(packet.source?.isSameHost(as: address) == true)
            #expect(packet.source?.port == client.localAddress?.port)
            #expect(packet.arrival.readAt >= packet.arrival.instant)
            #expect(!packet.isCut)
            isKernelTimed = packet.arrival.isKernelTimed && packet.arrival.instant >= before
        }
        #expect(isKernelTimed)
    }

    @Test func `a packet that is too large says that it is cut`() throws {
        let server = try bound("127.0.0.1")
        let address: SocketAddress = try #require(server.localAddress)
        let client = try DatagramSocket.udp(.ipv4)
        try client.send(
            [UInt8](repeating: 7, count: DatagramSocket.packetBytesMax + 1), to: address)
        let packet = try #require(try nextPacket(of: server))
        #expect(packet.isCut)
        #expect(packet.bytes.count == DatagramSocket.packetBytesMax)
    }

    @Test(arguments: ["127.0.0.1", "::1"])
    func `a closed port is reported, and does not keep the next packet back`(host: String) throws {
        let address: SocketAddress
        do { address = try #require(try bound(host).localAddress) }
        let client = try DatagramSocket.udp(address.family)
        for number in 1...3 as ClosedRange<UInt8> {
            try client.send([number], to: address)
            var report: ICMPReport?
            while report == nil {
                try client.wait(until: .now().advanced(by: .seconds(10)), nil)
                if case .report(let found) = try client.receive() { report = found }
            }
            #expect(report?.reason == "port unreachable")
            #expect(report?.sender?.host == host)
            #expect(report?.destination?.port == address.port)
            #expect(report?.quoted == [number])
            #expect(report?.isTimeExceeded == false)
        }
    }

    @Test func `an interrupt ends a wait`() throws {
        let socket = try bound("127.0.0.1")
        let interrupt = try Interrupt()
        let trigger = OwnedThread(name: "trigger") { interrupt.trigger() }
        defer { trigger.join() }
        let error = #expect(throws: TransportError.self) {
            try socket.wait(until: .now().advanced(by: .seconds(60)), interrupt)
        }
        #expect(error?.code == .interrupted)
    }

    @Test func `an address is told apart by its bytes, not by its port`() throws {
        let one = try #require(SocketAddress(literal: "192.0.2.1", port: 1))
        #expect(one.isSameHost(as: try #require(SocketAddress(bytes: [192, 0, 2, 1], port: 2))))
        #expect(!one.isSameHost(as: try #require(SocketAddress(bytes: [192, 0, 2, 2], port: 1))))
        let wide = try #require(
            SocketAddress(
                bytes: [0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], port: 9))
        #expect(wide.host == "2001:db8::1")
        #expect(wide.port == 9)
        #expect(!wide.isSameHost(as: one))
        #expect(SocketAddress(bytes: [1, 2, 3], port: 1) == nil)
        #expect(one.with(port: 77)?.description == "192.0.2.1:77")
    }

    @Test func `control messages with wrong lengths are not read`() {
        func message(length: Int, level: Int32 = 1, type: Int32 = 2, data: Int) -> [UInt8] {
            (0..<8).map { UInt8(truncatingIfNeeded: length >> ($0 * 8)) }
                + (0..<4).map { UInt8(truncatingIfNeeded: level >> ($0 * 8)) }
                + (0..<4).map { UInt8(truncatingIfNeeded: type >> ($0 * 8)) }
                + [UInt8](repeating: 9, count: data)
        }
        let good = message(length: 20, data: 8) + message(length: 24, level: 41, type: 25, data: 8)
        let items = ControlMessages(good[...]).map { ($0.level, $0.type, $0.data.count) }
        #expect(items.count == 2)
        #expect(items.first?.2 == 4)
        #expect(items.last?.0 == 41)
        for length in [0, 15, 25, Int.max, Int.min, -1] {
            let bytes = message(length: length, data: 8)
            #expect(Array(ControlMessages(bytes[...])).isEmpty)
        }
        for count in 0..<16 {
            #expect(Array(ControlMessages(good.prefix(count))).isEmpty)
        }
    }

    private func bound(_ host: String) throws -> DatagramSocket {
        let address = try #require(SocketAddress(literal: host, port: 0))
        let socket = try DatagramSocket.udp(address.family)
        try socket.bind(to: address)
        return socket
    }

    private func nextPacket(of socket: DatagramSocket) throws -> Datagram? {
        let deadline = MonotonicInstant.now().advanced(by: .seconds(10))
        while MonotonicInstant.now() < deadline {
            if case .packet(let packet) = try socket.receive() { return packet }
            try socket.wait(until: deadline, nil)
        }
        return nil
    }
}
