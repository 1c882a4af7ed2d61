internal import CZlib

/// Deflates one body into the gzip format (RFC 1952), part by part.
///
/// Serves one thread at a time.
@safe package final class GzipDeflater {
    /// Why a body cannot be deflated.
    package enum Failure: Error, Hashable, Sendable {
        /// Levels go from 0, stored, to 9, smallest.
        case invalidLevel(Int)
        case noMemory
    }

    private let stream: UnsafeMutablePointer<z_stream>
    private let buffer: UnsafeMutableRawBufferPointer

    /// - Parameter level: 0, stored, to 9, smallest.
    package init(level: Int = defaultLevel) throws(Failure) {
        guard let level = Int32(exactly: level), (0...9).contains(level) else {
            throw .invalidLevel(level)
        }
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        let status = unsafe deflateInit2_(
            stream, level, Z_DEFLATED, windowBits, memoryLevel, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size))
        guard status == Z_OK else {
            unsafe stream.deallocate()
            throw .noMemory
        }
        unsafe self.stream = unsafe stream
        unsafe buffer = .allocate(
            byteCount: GzipInflater.outputByteCountAtOnce, alignment: 16)
    }

    deinit {
        unsafe deflateEnd(stream)
        unsafe stream.deallocate()
        unsafe buffer.deallocate()
    }

    /// Deflates the body's next part and hands what is ready to `output`.
    package func deflate(
        _ input: UnsafeRawBufferPointer, into output: (UnsafeRawBufferPointer) -> Void
    ) {
        var rest = unsafe input
        while unsafe !rest.isEmpty {
            let part = unsafe UnsafeRawBufferPointer(rebasing: rest.prefix(partByteCountMax))
            unsafe run(part, Z_NO_FLUSH, output)
            unsafe rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(part.count))
        }
    }

    /// Ends the body; the deflater is ready for another one.
    package func finish(into output: (UnsafeRawBufferPointer) -> Void) {
        unsafe run(UnsafeRawBufferPointer(start: nil, count: 0), Z_FINISH, output)
        let status = unsafe deflateReset(stream)
        precondition(status == Z_OK, "a stream that was made can be reset")
    }

    private func run(
        _ input: UnsafeRawBufferPointer, _ flush: Int32,
        _ output: (UnsafeRawBufferPointer) -> Void
    ) {
        unsafe stream.pointee.next_in = UnsafeMutablePointer(
            mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
        unsafe stream.pointee.avail_in = UInt32(input.count)
        var hasMore = true
        while hasMore {
            unsafe stream.pointee.next_out = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
            unsafe stream.pointee.avail_out = UInt32(buffer.count)
            let status = unsafe CZlib.deflate(stream, flush)
            precondition(status != Z_STREAM_ERROR, "a stream in the wrong state")
            let produced = unsafe buffer.count - Int(stream.pointee.avail_out)
            if produced > 0 {
                unsafe output(UnsafeRawBufferPointer(rebasing: buffer[..<produced]))
            }
            hasMore = unsafe produced == buffer.count
        }
        unsafe stream.pointee.next_in = nil
    }
}

/// `bytes` in the gzip format.
///
/// - Parameter level: 0, stored, to 9, smallest.
package func gzip(
    _ bytes: [UInt8], level: Int = defaultLevel
) throws(GzipDeflater.Failure) -> [UInt8] {
    let deflater = try GzipDeflater(level: level)
    var result: [UInt8] = []
    unsafe bytes.withUnsafeBytes { input in
        unsafe deflater.deflate(input) { unsafe result.append(contentsOf: $0) }
    }
    unsafe deflater.finish { unsafe result.append(contentsOf: $0) }
    return result
}

/// zlib's own balance of time and size.
package let defaultLevel = 6
/// zlib's own balance of memory and speed.
private let memoryLevel: Int32 = 8
