internal import Telemetry

/// Little-endian access at offsets that the caller has checked.
extension UnsafeMutableRawBufferPointer {
    @inline(__always)
    func store(_ value: some FixedWidthInteger & BitwiseCopyable, at offset: Int) {
        unsafe storeBytes(of: value.littleEndian, toByteOffset: offset, as: type(of: value))
    }

    @inline(__always)
    func store(_ id: UniqueID, at offset: Int) {
        // The order of the text form, as in RFC 9562.
        unsafe storeBytes(of: id.high.bigEndian, toByteOffset: offset, as: UInt64.self)
        unsafe storeBytes(of: id.low.bigEndian, toByteOffset: offset &+ 8, as: UInt64.self)
    }

    /// Copies the elements of `array` to `offset` and moves `offset` behind them.
    func copy<Element: BitwiseCopyable>(_ array: [Element], at offset: inout Int) {
        let size = array.count * MemoryLayout<Element>.stride
        guard size > 0 else { return }
        unsafe array.withUnsafeBytes { source in
            unsafe UnsafeMutableRawBufferPointer(rebasing: self[offset..<offset &+ size])
                .copyMemory(from: source)
        }
        offset &+= size
    }
}

extension UnsafeRawBufferPointer {
    @inline(__always)
    func load<Value: FixedWidthInteger & BitwiseCopyable>(
        _ offset: Int, as type: Value.Type = Value.self
    ) -> Value {
        unsafe Value(littleEndian: loadUnaligned(fromByteOffset: offset, as: Value.self))
    }

    @inline(__always)
    func loadID(_ offset: Int) -> UniqueID {
        unsafe UniqueID(
            high: UInt64(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self)),
            low: UInt64(bigEndian: loadUnaligned(fromByteOffset: offset &+ 8, as: UInt64.self)))
    }
}
