internal import Telemetry

/// Small numbers for names, so that what is done for each event compares integers.
struct NameTable: Sendable {
    private var names: [Name] = []
    private var numbers = SlotIndex()
    /// For each name how many come before it, as of the last ``rankAll()``.
    private var ranks: [UInt32] = []

    var count: Int { names.count }

    subscript(number: UInt32) -> Name { names[Int(number)] }

    /// Brings ``rank(of:)`` up to date.
    mutating func rankAll() {
        guard ranks.count != names.count else { return }
        let ordered = names.indices.sorted { names[$0] < names[$1] }
        ranks = Array(repeating: 0, count: names.count)
        for (rank, number) in ordered.enumerated() {
            ranks[number] = UInt32(truncatingIfNeeded: rank)
        }
    }

    /// The place of a name in the order of all names, so that many rows are sorted by numbers.
    func rank(of number: UInt32) -> UInt32 { ranks[Int(number)] }

    /// The number of the name with these bytes, which is added when it is new.
    mutating func number(of bytes: UnsafeRawBufferPointer) -> UInt32 {
        let hash = unsafe XXHash64.hash(bytes, seed: SlotHash.seed)
        let known = numbers.slot(hash: hash) { unsafe isName(UInt32(bitPattern: $0), bytes) }
        if let known { return UInt32(bitPattern: known) }
        let number = UInt32(truncatingIfNeeded: names.count)
        unsafe names.append(Name(utf8: bytes))
        numbers.insert(Int32(bitPattern: number), hash: hash)
        return number
    }

    /// The number of a name, which is added when it is new.
    mutating func number(of name: Name) -> UInt32 {
        var text = name.text
        return text.withUTF8 { unsafe number(of: UnsafeRawBufferPointer($0)) }
    }

    private func isName(_ number: UInt32, _ bytes: UnsafeRawBufferPointer) -> Bool {
        let utf8 = names[Int(number)].text.utf8
        guard utf8.count == bytes.count else { return false }
        let isEqual = unsafe utf8.withContiguousStorageIfAvailable {
            unsafe $0.elementsEqual(bytes)
        }
        return unsafe isEqual ?? utf8.elementsEqual(bytes)
    }
}

/// Small numbers for network contexts.
struct ContextTable: Sendable {
    private struct Key: SlotKey {
        /// Numbers of names, one higher than in the table; 0 is absent.
        var names: (UInt32, UInt32, UInt32, UInt32, UInt32)
        var asn: UInt32?

        static func == (a: Key, b: Key) -> Bool { a.names == b.names && a.asn == b.asn }

        var slotHash: UInt64 {
            let first = SlotHash.mix(
                UInt64(names.0) << 32 | UInt64(names.1), UInt64(names.2) << 32 | UInt64(names.3))
            return SlotHash.mix(first, UInt64(names.4) << 32 | UInt64(asn ?? 0))
        }
    }

    private var contexts: [NetworkContext] = []
    private var keys: [Key] = []
    private var numbers = SlotIndex()

    var count: Int { contexts.count }

    subscript(number: UInt32) -> NetworkContext { contexts[Int(number)] }

    /// The number of a context whose names have these numbers; nil is absent.
    mutating func number(
        sourceIP: UInt32?, networkType: UInt32?, isp: UInt32?, region: UInt32?, resolver: UInt32?,
        asn: UInt32?, names: NameTable
    ) -> UInt32 {
        func code(_ number: UInt32?) -> UInt32 { number.map { $0 &+ 1 } ?? 0 }
        let key = Key(
            names: (code(sourceIP), code(networkType), code(isp), code(region), code(resolver)),
            asn: asn)
        let hash = key.slotHash
        let known = numbers.slot(hash: hash) { keys[Int($0)] == key }
        if let known { return UInt32(bitPattern: known) }
        let number = UInt32(truncatingIfNeeded: contexts.count)
        contexts.append(
            NetworkContext(
                sourceIP: sourceIP.map { names[$0] }, networkType: networkType.map { names[$0] },
                isp: isp.map { names[$0] }, asn: asn, region: region.map { names[$0] },
                resolver: resolver.map { names[$0] }))
        keys.append(key)
        numbers.insert(Int32(bitPattern: number), hash: hash)
        return number
    }

    /// The number of `context`.
    mutating func number(of context: NetworkContext, names: inout NameTable) -> UInt32 {
        func name(_ name: Name?) -> UInt32? { name.map { names.number(of: $0) } }
        let sourceIP = name(context.sourceIP)
        let networkType = name(context.networkType)
        let isp = name(context.isp)
        let region = name(context.region)
        let resolver = name(context.resolver)
        return number(
            sourceIP: sourceIP, networkType: networkType, isp: isp, region: region,
            resolver: resolver, asn: context.asn, names: names)
    }
}
