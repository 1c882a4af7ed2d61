import OwnedThreads
import Synchronization
import Testing
import Transport

/// A UDP server that answers each packet with what a test wants.
final class ScriptedDatagrams: Sendable {
    /// What to send, and whether from the server's own port.
    struct Reply: Sendable {
        let bytes: [UInt8]
        /// From another port otherwise.
        var isFromServer = true
    }

    let address: SocketAddress
    private let interrupt: Interrupt
    private let thread = Mutex<OwnedThread?>(nil)

    /// - Parameter script: What to send at the packet with this number, from 0.
    init(
        host: String = "127.0.0.1", port: UInt16 = 0,
        _ script: @escaping @Sendable (_ number: Int, _ packet: [UInt8]) -> [Reply]
    ) throws {
        let wanted = try #require(SocketAddress(literal: host, port: port))
        let interrupt = try Interrupt()
        let socket = try DatagramSocket.udp(wanted.family)
        try socket.bind(to: wanted)
        address = try #require(socket.localAddress)
        self.interrupt = interrupt
        let descriptors = Box(socket, try DatagramSocket.udp(wanted.family))
        let thread = OwnedThread(name: "datagrams") {
            var number = 0
            while !interrupt.isTriggered {
                guard case .packet(let packet) = try? descriptors.own.receive() else {
                    let later = MonotonicInstant.now().advanced(by: .seconds(60))
                    try? descriptors.own.wait(until: later, interrupt)
                    continue
                }
                for reply in script(number, packet.bytes) {
                    let socket = reply.isFromServer ? descriptors.own : descriptors.other
                    _ = try? socket.send(reply.bytes, to: packet.source)
                }
                number += 1
            }
        }
        self.thread.withLock { $0 = thread }
    }

    deinit {
        interrupt.trigger()
        thread.withLock { $0 }?.join()
    }

    /// Two sockets that are handed over to the server's thread, and used by it alone.
    private struct Box: @unchecked Sendable {
        let own: DatagramSocket
        let other: DatagramSocket

        init(_ own: DatagramSocket, _ other: DatagramSocket) {
            self.own = own
            self.other = other
        }
    }
}
