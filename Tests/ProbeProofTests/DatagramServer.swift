import OwnedThreads
import Synchronization
import Testing
import Transport

/// A UDP server that answers each packet, at once.
final class DatagramServer: Sendable {
    private let interrupt: Interrupt
    private let thread = Mutex<OwnedThread?>(nil)

    /// - Parameter answer: What to answer a packet with; it is sent as it is by default (RFC 862).
    init(
        host: String, port: UInt16, answer: @escaping @Sendable ([UInt8]) -> [UInt8] = { $0 }
    ) throws {
        let address = try #require(SocketAddress(literal: host, port: port))
        let interrupt = try Interrupt()
        self.interrupt = interrupt
        let own = Own(try DatagramSocket.udp(address.family))
        try own.socket.bind(to: address)
        let thread = OwnedThread(name: "datagrams") {
            while !interrupt.isTriggered {
                guard case .packet(let packet) = try? own.socket.receive() else {
                    let later = MonotonicInstant.now().advanced(by: .seconds(60))
                    try? own.socket.wait(until: later, interrupt)
                    continue
                }
                _ = try? own.socket.send(answer(packet.bytes), to: packet.source)
            }
        }
        self.thread.withLock { $0 = thread }
    }

    deinit {
        interrupt.trigger()
        thread.withLock { $0 }?.join()
    }

    /// The socket, handed over to the server's thread and used by it alone.
    private struct Own: @unchecked Sendable {
        let socket: DatagramSocket

        init(_ socket: DatagramSocket) {
            self.socket = socket
        }
    }
}

/// A TCP server that does to each connection, one after the other, what a test wants.
final class StreamServer: Sendable {
    private let interrupt: Interrupt
    private let thread = Mutex<OwnedThread?>(nil)

    init(
        host: String, port: UInt16,
        _ body: @escaping @Sendable (Connection, Patience) throws -> Void
    ) throws {
        let listener = try Listener(host: host, port: port)
        let interrupt = try Interrupt()
        self.interrupt = interrupt
        let thread = OwnedThread(name: "streams") {
            while !interrupt.isTriggered {
                let patience = Patience(for: .seconds(60), interrupt: interrupt)
                guard let connection = try? listener.accept(patience) else { continue }
                // A client that breaks off is its own affair.
                try? body(connection, patience)
            }
        }
        self.thread.withLock { $0 = thread }
    }

    deinit {
        interrupt.trigger()
        thread.withLock { $0 }?.join()
    }
}
