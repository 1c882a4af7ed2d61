import Foundation
import OwnedThreads
import TargetServing
import TestKit
import Transport

/// What the probe measures: answers on this machine at once, by several protocols.
final class MeasuredTargets: Sendable {
    private let server: TargetServer
    private let echo: DatagramEcho

    /// - Parameter folder: An existing one, for the server's certificates.
    init(folder: String) throws {
        server = try TargetServer(folder: folder)
        echo = try DatagramEcho()
    }

    /// Targets as the probe is told them, so many by HTTP, one by TCP and one by UDP.
    func texts(httpCount: Int) -> [String] {
        let http = (1...httpCount).map { "\(server.httpURL)/fast name=http-\($0)" }
        let authority = server.httpURL.replacingOccurrences(of: "http://", with: "")
        return http + [
            "tcp://\(authority) name=tcp",
            "udp://\(echo.address) name=udp count=2 gap=1ms wait=500ms",
        ]
    }

    func stop() {
        server.stop()
        echo.stop()
    }
}

/// A UDP server that sends each packet back (RFC 862).
private final class DatagramEcho: Sendable {
    let address: SocketAddress
    private let interrupt: Interrupt
    private let thread: Monitor<OwnedThread?>

    /// A socket that is handed over to the server's thread, and used by it alone.
    private struct Handed: @unchecked Sendable {
        let socket: DatagramSocket
    }

    init() throws {
        guard let any = SocketAddress(literal: "127.0.0.1", port: 0) else {
            throw TransportError(.invalidConfiguration, "no loopback")
        }
        let handed = Handed(socket: try DatagramSocket.udp(any.family))
        try handed.socket.bind(to: any)
        address = handed.socket.localAddress ?? any
        let interrupt = try Interrupt()
        self.interrupt = interrupt
        thread = Monitor(
            OwnedThread(name: "udp echo") {
                while !interrupt.isTriggered {
                    guard case .packet(let packet) = try? handed.socket.receive() else {
                        let later = MonotonicInstant.now().advanced(by: .seconds(60))
                        try? handed.socket.wait(until: later, interrupt)
                        continue
                    }
                    _ = try? handed.socket.send(packet.bytes, to: packet.source)
                }
            })
    }

    func stop() {
        interrupt.trigger()
        thread.update { thread in
            defer { thread = nil }
            return thread
        }?.join()
    }
}
