internal import CNamespaces
internal import Glibc

/// A network device in a namespace whose packets a program reads and writes. Closed by its owner.
struct TunDevice: Sendable {
    /// Largest IP packet, that of an Ethernet.
    static let largestPacketBytes = 1500
    /// Packets that the kernel keeps for the relay while it cannot run; more are lost, and counted by
    /// ``packetsLostBeforeReading()``.
    static let queuedPackets = 10_000

    let name: String
    let descriptor: Int32
    /// The counters of all devices of the namespace.
    private let statistics: Int32

    /// Makes a device and sets it up; called on a thread in its namespace.
    init(name: String, addresses: [String]) throws {
        let descriptor = unsafe namespaces_open_tun(name)
        guard descriptor >= 0 else {
            throw LinkEmulationError.system(call: "opening /dev/net/tun", errno: errno)
        }
        do {
            let netlink = try Netlink()
            try netlink.setUp(
                device: name, largestPacket: Self.largestPacketBytes,
                queuedPackets: Self.queuedPackets)
            for address in addresses {
                try netlink.add(AddressPrefix(address), to: name)
            }
            // Stays that of this namespace, whoever reads it later.
            statistics = unsafe open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC)
            guard statistics >= 0 else {
                throw LinkEmulationError.system(
                    call: "open /proc/thread-self/net/dev", errno: errno)
            }
        } catch {
            _ = Glibc.close(descriptor)
            throw error
        }
        self.name = name
        self.descriptor = descriptor
    }

    func close() {
        _ = Glibc.close(descriptor)
        _ = Glibc.close(statistics)
    }

    /// Takes up the next packet; nil when there is none.
    func read() -> [UInt8]? {
        let packet = unsafe [UInt8](
            unsafeUninitializedCapacity: Self.largestPacketBytes
        ) { buffer, count in
            count = unsafe max(0, Glibc.read(descriptor, buffer.baseAddress, buffer.count))
        }
        return packet.isEmpty ? nil : packet
    }

    /// Has the namespace receive a packet.
    ///
    /// - Returns: Whether the kernel took it.
    func write(_ packet: [UInt8]) -> Bool {
        unsafe Glibc.write(descriptor, packet, packet.count) == packet.count
    }

    /// How many packets the kernel has dropped on their way to the relay since the device exists; nil when it does not say.
    func packetsLostBeforeReading() -> UInt64? {
        var text: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = unsafe pread(statistics, &part, part.count, off_t(text.count))
            guard count > 0 else { break }
            text += part.prefix(count)
        }
        for line in String(decoding: text, as: UTF8.self).split(separator: "\n") {
            let fields = line.split { $0 == " " || $0 == ":" }
            // proc(5): the name, eight counters of what came in, then bytes, packets, errors and drops of what went out.
            if fields.count > 12, fields[0] == name {
                return UInt64(fields[12])
            }
        }
        return nil
    }
}
