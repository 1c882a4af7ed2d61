internal import CNamespaces
internal import Glibc

/// Changes to the devices, addresses and routes of the namespace in which it was made, by `rtnetlink(7)`: what `ip(8)`
/// does, without depending on it. Used by the thread that made it.
struct Netlink: ~Copyable {
    private let socket: Int32

    init() throws {
        socket = Glibc.socket(AF_NETLINK, Int32(SOCK_RAW.rawValue), NETLINK_ROUTE)
        guard socket >= 0 else {
            throw LinkEmulationError.system(call: "socket(AF_NETLINK)", errno: errno)
        }
    }

    deinit {
        close(socket)
    }

    func setUp(device: String) throws {
        var request = try linkRequest(device)
        request.finish()
        try send(request, "setting \(device) up")
    }

    /// Sets a device up, with the largest packet it takes and how many it keeps for who reads it.
    func setUp(device: String, largestPacket: Int, queuedPackets: Int) throws {
        var request = try linkRequest(device)
        request.add(attribute: UInt16(IFLA_MTU), UInt32(clamping: largestPacket).bytes)
        request.add(attribute: UInt16(IFLA_TXQLEN), UInt32(clamping: queuedPackets).bytes)
        request.finish()
        try send(request, "setting \(device) up")
    }

    /// Gives a device an address; at once, without looking for another who has it.
    func add(_ prefix: AddressPrefix, to device: String) throws {
        var request = NetlinkRequest(
            type: UInt16(RTM_NEWADDR), flags: NLM_F_CREATE | NLM_F_EXCL)
        // struct ifaddrmsg
        request.add([
            prefix.family, prefix.length, UInt8(IFA_F_NODAD), UInt8(RT_SCOPE_UNIVERSE.rawValue),
        ])
        request.add(try index(of: device).bytes)
        request.add(attribute: UInt16(IFA_LOCAL), prefix.address)
        request.add(attribute: UInt16(IFA_ADDRESS), prefix.address)
        request.finish()
        try send(request, "giving \(device) the address \(prefix)")
    }

    /// Sends what is for `prefix` over a device.
    func addRoute(to prefix: AddressPrefix, over device: String) throws {
        var request = NetlinkRequest(
            type: UInt16(RTM_NEWROUTE), flags: NLM_F_CREATE | NLM_F_EXCL)
        // struct rtmsg
        request.add([prefix.family, prefix.length, 0, 0])
        request.add([
            UInt8(RT_TABLE_MAIN.rawValue), UInt8(RTPROT_STATIC), UInt8(RT_SCOPE_UNIVERSE.rawValue),
            UInt8(RTN_UNICAST),
        ])
        request.add(UInt32(0).bytes)
        request.add(attribute: UInt16(RTA_DST.rawValue), prefix.address)
        request.add(attribute: UInt16(RTA_OIF.rawValue), try index(of: device).bytes)
        request.finish()
        try send(request, "the route to \(prefix) over \(device)")
    }

    /// The request that sets a device up, to which more can be added.
    private func linkRequest(_ device: String) throws -> NetlinkRequest {
        var request = NetlinkRequest(type: UInt16(RTM_NEWLINK), flags: 0)
        // struct ifinfomsg
        request.add([UInt8(AF_UNSPEC), 0])
        request.add(UInt16(0).bytes)
        request.add(try index(of: device).bytes)
        let up = UInt32(1)  // IFF_UP (netdevice(7)), an enumeration that Swift does not see
        request.add(up.bytes)
        request.add(up.bytes)
        return request
    }

    private func index(of device: String) throws -> UInt32 {
        let index = unsafe if_nametoindex(device)
        guard index != 0 else {
            throw LinkEmulationError.system(call: "if_nametoindex \(device)", errno: errno)
        }
        return index
    }

    /// Sends a request and takes the acknowledgement, which the kernel gives before `send` returns.
    private func send(_ request: NetlinkRequest, _ change: String) throws {
        let bytes = request.bytes
        guard unsafe Glibc.send(socket, bytes, bytes.count, 0) == bytes.count else {
            throw LinkEmulationError.system(call: "send to the kernel", errno: errno)
        }
        var answer = [UInt8](repeating: 0, count: 4096)
        let count = unsafe recv(socket, &answer, answer.count, Int32(MSG_DONTWAIT))
        guard count >= 0 else {
            throw LinkEmulationError.system(call: "recv from the kernel", errno: errno)
        }
        // struct nlmsghdr with its type at byte 4, then struct nlmsgerr with the negative error.
        let result = unsafe answer.prefix(count).withUnsafeBytes { bytes -> Int32? in
            guard bytes.count >= NetlinkRequest.headerBytes + 4,
                unsafe bytes.loadUnaligned(fromByteOffset: 4, as: UInt16.self) == NLMSG_ERROR
            else { return nil }
            return unsafe bytes.loadUnaligned(
                fromByteOffset: NetlinkRequest.headerBytes, as: Int32.self)
        }
        guard let result else { throw LinkEmulationError.unexpectedAnswer(change: change) }
        guard result == 0 else {
            throw LinkEmulationError.refused(change: change, errno: 0 &- result)
        }
    }
}

/// The bytes of one request (`netlink(7)`): a header, a fixed part and attributes, each on a boundary of 4 bytes.
private struct NetlinkRequest {
    static let headerBytes = 16
    private(set) var bytes: [UInt8] = []

    init(type: UInt16, flags: Int32) {
        add(UInt32(0).bytes)  // the length, when it is known
        add(type.bytes)
        add(UInt16(NLM_F_REQUEST | NLM_F_ACK | flags).bytes)
        add(UInt32(0).bytes)  // sequence
        add(UInt32(0).bytes)  // port: the kernel's choice
    }

    mutating func add(_ more: [UInt8]) {
        bytes += more
    }

    mutating func add(attribute type: UInt16, _ value: [UInt8]) {
        let header = 4
        add(UInt16(header + value.count).bytes)
        add(type.bytes)
        add(value)
        while bytes.count % 4 != 0 { bytes.append(0) }
    }

    /// Writes the length into the header.
    mutating func finish() {
        bytes.replaceSubrange(0..<4, with: UInt32(bytes.count).bytes)
    }
}

extension FixedWidthInteger {
    /// In the machine's own order, as netlink has it.
    fileprivate var bytes: [UInt8] {
        unsafe withUnsafeBytes(of: self) { unsafe Array($0) }
    }
}
