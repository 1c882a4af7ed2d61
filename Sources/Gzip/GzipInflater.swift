internal import CZlib

/// Inflates bodies in the gzip format (RFC 1952), part by part, within bounds.
///
/// A body is one member: a second one, or anything else behind its end, is refused. What is inflated goes
/// through a buffer of ``outputByteCountAtOnce`` bytes, so that memory does not depend on the body, and
/// the time taken is linear in the input and in the output let through. The checksum and the length at
/// the member's end are verified, so nothing inflated counts before ``finish()`` has returned.
///
/// ``reset()`` makes it ready for another body without allocating. Serves one thread at a time.
@safe package final class GzipInflater {
    /// Why a body is refused.
    package struct Failure: Error, Hashable, Sendable {
        package enum Code: Hashable, Sendable {
            /// Not the gzip format, or damaged: a wrong checksum, a wrong length, a header beyond its bound.
            case malformed
            /// The body ends before its member does.
            case truncated
            /// The body goes on behind its member.
            case trailingBytes
            /// More output than the bound.
            case tooLarge
            /// More output for each byte of input than the bound.
            case ratioTooHigh
        }

        package let code: Code
        /// A clause for people that says what is wrong; it holds nothing of the body.
        package let description: String
    }

    /// The most that one call of `output` gets, bytes.
    package static let outputByteCountAtOnce = 32 << 10
    /// The longest header with its optional name, comment and extra field, bytes: theirs have no bound in
    /// RFC 1952, and nobody needs them.
    package static let headerByteCountMax = 4 << 10
    /// Output that is let through whatever the ratio, bytes: small repetitive bodies shrink well.
    package static let ratioFreeByteCount = 64 << 10

    private let outputByteCountMax: Int
    private let ratioMax: Int
    private let stream: UnsafeMutablePointer<z_stream>
    private let header: UnsafeMutablePointer<gz_header>
    private let buffer: UnsafeMutableRawBufferPointer
    /// Output in the buffer that has not been handed on.
    private var filledByteCount = 0
    private var state = State.inMember

    /// Input consumed and output produced since the last reset, bytes.
    package private(set) var inputByteCount = 0
    package private(set) var outputByteCount = 0

    private enum State {
        case inMember, atEnd
        case failed(Failure)
    }

    /// - Parameters:
    ///   - outputByteCountMax: A body with more output is refused.
    ///   - ratioMax: A body is refused once its output is more than this times its input so far.
    package init(outputByteCountMax: Int, ratioMax: Int = 100) {
        precondition(outputByteCountMax >= 0 && ratioMax > 0)
        self.outputByteCountMax = outputByteCountMax
        self.ratioMax = ratioMax
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        unsafe header = .allocate(capacity: 1)
        unsafe header.initialize(to: gz_header())
        unsafe buffer = .allocate(byteCount: Self.outputByteCountAtOnce, alignment: 16)
        let status = unsafe inflateInit2_(
            stream, windowBits, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        precondition(status == Z_OK, "no memory for zlib's state of some KiB, or another zlib")
        beginMember()
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
        unsafe header.deallocate()
        unsafe buffer.deallocate()
    }

    /// Forgets the body so far.
    package func reset() {
        let status = unsafe inflateReset(stream)
        precondition(status == Z_OK, "a stream that was made can be reset")
        beginMember()
    }

    private func beginMember() {
        state = .inMember
        filledByteCount = 0
        inputByteCount = 0
        outputByteCount = 0
        // Nothing of the header is kept; zlib only says when it ends.
        unsafe header.pointee = gz_header()
        let status = unsafe inflateGetHeader(stream, header)
        precondition(status == Z_OK, "a stream for gzip has a header")
    }

    /// Inflates the body's next part, of any length, and hands the output to `output` in order: each time
    /// ``outputByteCountAtOnce`` bytes of it are there, and the rest at the end.
    ///
    /// - Throws: Why the body is refused; the same again until ``reset()``.
    package func inflate(
        _ input: UnsafeRawBufferPointer, into output: (UnsafeRawBufferPointer) -> Void
    ) throws(Failure) {
        var rest = unsafe input
        while unsafe !rest.isEmpty {
            if case .failed(let failure) = state { throw failure }
            if case .atEnd = state {
                throw failing(.trailingBytes, "the gzip body goes on behind its end")
            }
            let isInHeader = unsafe header.pointee.done == 0
            let most = isInHeader ? Self.headerByteCountMax - inputByteCount : partByteCountMax
            guard most > 0 else {
                throw failing(
                    .malformed,
                    "the gzip header is longer than \(Self.headerByteCountMax) bytes")
            }
            let part = unsafe UnsafeRawBufferPointer(rebasing: rest.prefix(most))
            let consumed = unsafe try inflatePart(part, into: output)
            unsafe rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(consumed))
        }
    }

    /// Says that the body has no further parts.
    ///
    /// - Throws: Why the body is refused; ``Failure/Code/truncated`` when its member has not come to its end.
    package func finish() throws(Failure) {
        switch state {
        case .atEnd: return
        case .failed(let failure): throw failure
        case .inMember: throw failing(.truncated, "the gzip body ends too early")
        }
    }

    /// Inflates all of `part`, or up to the member's end, and returns how many bytes that was.
    private func inflatePart(
        _ part: UnsafeRawBufferPointer, into output: (UnsafeRawBufferPointer) -> Void
    ) throws(Failure) -> Int {
        unsafe stream.pointee.next_in = UnsafeMutablePointer(
            mutating: part.baseAddress?.assumingMemoryBound(to: UInt8.self))
        unsafe stream.pointee.avail_in = UInt32(part.count)
        defer {
            unsafe stream.pointee.next_in = nil
            unsafe stream.pointee.avail_in = 0
        }
        while true {
            let inputBefore = unsafe stream.pointee.avail_in
            // One byte more than allowed tells a body that is too large from one that just fits.
            let allowed = outputByteCountMax - outputByteCount
            let room = unsafe min(allowed, buffer.count - filledByteCount - 1) + 1
            unsafe stream.pointee.next_out = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
                .advanced(by: filledByteCount)
            unsafe stream.pointee.avail_out = UInt32(room)
            let status = unsafe CZlib.inflate(stream, Z_NO_FLUSH)
            let consumed = unsafe Int(inputBefore - stream.pointee.avail_in)
            let produced = unsafe room - Int(stream.pointee.avail_out)
            inputByteCount += consumed
            outputByteCount += produced
            filledByteCount += produced
            guard produced <= allowed else {
                throw failing(
                    .tooLarge, "the gzip body inflates to more than \(outputByteCountMax) bytes")
            }
            if unsafe filledByteCount == buffer.count || status == Z_STREAM_END {
                unsafe try handOn(to: output)
            }
            switch status {
            case Z_STREAM_END:
                state = .atEnd
                return unsafe part.count - Int(stream.pointee.avail_in)
            case Z_OK, Z_BUF_ERROR:
                // Output that did not fit comes with the next call; without any progress there is none.
                if unsafe stream.pointee.avail_in == 0 && produced < room { return part.count }
                guard consumed > 0 || produced > 0 else {
                    throw failing(.malformed, "the gzip body is damaged")
                }
            case Z_MEM_ERROR:
                preconditionFailure("no memory for zlib's window of 32 KiB")
            default:
                throw failing(.malformed, "the body is not in the gzip format, or is damaged")
            }
        }
    }

    /// Checks the ratio and hands the buffer on.
    ///
    /// Only full buffers, and the last one, come here, so that the answer does not depend on the parts in
    /// which a body arrives.
    private func handOn(
        to output: (UnsafeRawBufferPointer) -> Void
    ) throws(Failure) {
        if outputByteCount > Self.ratioFreeByteCount {
            let (allowed, overflow) = inputByteCount.multipliedReportingOverflow(by: ratioMax)
            guard overflow || outputByteCount <= allowed else {
                throw failing(
                    .ratioTooHigh,
                    "the gzip body inflates to more than \(ratioMax) times its length")
            }
        }
        if filledByteCount > 0 {
            unsafe output(UnsafeRawBufferPointer(rebasing: buffer[..<filledByteCount]))
        }
        filledByteCount = 0
    }

    private func failing(_ code: Failure.Code, _ description: String) -> Failure {
        let failure = Failure(code: code, description: description)
        state = .failed(failure)
        return failure
    }
}

/// The largest window, 2^15 bytes; 16 more stand for gzip and nothing else.
let windowBits: Int32 = 15 + 16
/// zlib counts input in 32 bits.
let partByteCountMax = 1 << 30
