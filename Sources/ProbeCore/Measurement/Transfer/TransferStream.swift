internal import Telemetry
internal import Transport

/// One connection of a transfer: requests one after the other, driven by a thread that never waits for it alone.
final class TransferStream {
    private enum State {
        /// Writing the request's head, from this byte of it on.
        case requesting(Int)
        /// Reading the answer to a download, or to an upload that was sent.
        case answering
        /// Writing chunks.
        case uploading
        /// Writing the end of the last chunk, from this byte of it on.
        case endingUpload(Int)
        /// Nothing more can come of it.
        case finished
    }

    let connection: Connection
    private let direction: TransferTarget.Direction
    private let request: [UInt8]
    private var reader = HTTPResponseReader()
    private var state = State.requesting(0)
    /// Of the chunks, with their framing; of this request.
    private var chunkBytesWritten = 0
    /// Of requests that are over.
    private var bodyBytesBefore = 0
    private var isEnding = false
    /// Whether TLS has bytes of ours that it could not write: it wants the same ones again.
    private var hasPendingWrite = false
    /// Requests whose answers are complete.
    private(set) var answers = 0

    /// Reads in a row before the other connections have their turn.
    private static let readsMax = 4
    /// Chunks in a row before the other connections have their turn.
    private static let writesMax = 16
    /// The most bytes that wait in this machine to be sent, so that those acknowledged are not far behind.
    private static let unsentBytesMax: Int32 = 128 * 1024

    init(
        _ connection: Connection, _ direction: TransferTarget.Direction, _ url: HTTPURL,
        userAgent: String
    ) {
        self.connection = connection
        self.direction = direction
        let method = direction == .download ? "GET" : "POST"
        let body =
            direction == .download
            ? "" : "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n"
        let head =
            "\(method) \(url.requestTarget) HTTP/1.1\r\nHost: \(url.authority)\r\n"
            + "User-Agent: \(userAgent)\r\nAccept: */*\r\nAccept-Encoding: identity\r\n\(body)\r\n"
        request = Array(head.utf8)
        if direction == .upload { connection.limitUnsentBytes(to: Self.unsentBytesMax) }
    }

    var isFinished: Bool {
        if case .finished = state { true } else { false }
    }

    /// What has to be waited for.
    var interest: Interest {
        switch state {
        case .requesting, .endingUpload: .writing
        // An answer may come before the body's end, mostly a refusal.
        case .uploading: [.reading, .writing]
        case .answering: .reading
        case .finished: []
        }
    }

    /// Bytes of bodies that have arrived: here, or in the other end's kernel.
    var bodyBytes: Int {
        switch direction {
        case .download: bodyBytesBefore &+ reader.bodyBytes
        case .upload:
            // Some of what is unacknowledged is framing, so this is rather too little.
            max(0, bodyBytesWritten &- (connection.bytesUnacknowledged ?? 0))
        }
    }

    /// Bytes of bodies that were received, or handed to the kernel.
    var bodyBytesMoved: Int { direction == .download ? bodyBytes : bodyBytesWritten }

    private var bodyBytesWritten: Int {
        bodyBytesBefore &+ UploadChunks.bodyBytes(of: chunkBytesWritten)
    }

    /// Ends an upload with the chunk that is under way; its answer is then read.
    func endUpload() {
        isEnding = true
        let isAtBorder = chunkBytesWritten % UploadChunks.wireBytes == 0 && !hasPendingWrite
        if case .uploading = state, isAtBorder {
            state = .endingUpload(0)
        }
    }

    /// Goes on as far as possible without waiting.
    ///
    /// - Parameter buffer: For what is read; shared with other streams.
    func advance(
        _ ready: Interest, _ buffer: inout [UInt8]
    ) throws(TransferFailure) {
        do {
            if ready.contains(.writing) { try write() }
            if ready.contains(.reading) { try read(&buffer) }
        } catch let error as TransportError {
            let isClosed = error.code == .reset || error.code == .endedEarly
            if isClosed, isBetweenRequests { return state = .finished }
            // A server that refuses an upload answers and closes: the answer says more than the reset.
            if direction == .upload, isClosed, reader.head == nil {
                try? read(&buffer)
                if let refusal { throw refusal }
            }
            throw TransferFailure(stage: stage, cause: .transport(error))
        } catch let error as HTTPViolation {
            throw TransferFailure(
                stage: error.code == .truncated ? stage : .http, cause: .violation(error))
        } catch {
            preconditionFailure("only transport errors and violations are thrown above: \(error)")
        }
        if let refusal { throw refusal }
    }

    /// The failure in an answer that is no success.
    private var refusal: TransferFailure? {
        guard let status = reader.head?.status, !(200...299).contains(status) else { return nil }
        let advice = (300...399).contains(status) ? "; redirects are not followed" : ""
        return TransferFailure(
            stage: .http,
            cause: .violation(
                HTTPViolation(.unwantedStatus, "the server answered \(status)\(advice)")))
    }

    /// Whether a close is the server's right: it has answered before, and not begun to answer again.
    private var isBetweenRequests: Bool { answers > 0 && reader.headBytes == 0 }

    /// Where a connection fails that breaks now.
    private var stage: ErrorStage { bodyBytes > 0 || reader.head != nil ? .throughput : .http }

    private func write() throws {
        var writesLeft = Self.writesMax
        while writesLeft > 0 {
            writesLeft -= 1
            switch state {
            case .requesting(let begin):
                let request = request
                guard let count = try written(request.span.extracting(begin..<request.count))
                else { return }
                guard begin + count == request.count else {
                    state = .requesting(begin + count)
                    continue
                }
                state = direction == .download ? .answering : .uploading
                if direction == .upload, isEnding { state = .endingUpload(0) }
            case .uploading:
                // To the chunk's end: a write that is taken up again must be at least as long.
                let chunks = UploadChunks.bytes
                let begin = chunkBytesWritten % chunks.count
                let left = UploadChunks.wireBytes - begin % UploadChunks.wireBytes
                guard
                    let count = try written(
                        chunks.span.extracting(begin..<begin + left))
                else { return }
                chunkBytesWritten &+= count
                if isEnding, count == left { state = .endingUpload(0) }
            case .endingUpload(let begin):
                let last = UploadChunks.last
                guard let count = try written(last.span.extracting(begin..<last.count)) else {
                    return
                }
                state = begin + count == last.count ? .answering : .endingUpload(begin + count)
            case .answering, .finished: return
            }
        }
    }

    /// The count of bytes that went through; nil when none did.
    private func written(_ bytes: Span<UInt8>) throws(TransportError) -> Int? {
        let readiness = try connection.writeAvailable(bytes)
        if case .bytes(let count) = readiness {
            hasPendingWrite = false
            return count
        }
        hasPendingWrite = true
        return nil
    }

    private func read(_ buffer: inout [UInt8]) throws {
        var readsLeft = Self.readsMax
        while readsLeft > 0, !isFinished {
            readsLeft -= 1
            switch try connection.readAvailable(into: &buffer) {
            case .waitsToRead, .waitsToWrite: return
            case .ended:
                if isBetweenRequests { return state = .finished }
                try reader.finish()
                endRequest()
                state = .finished
            case .bytes(let count):
                try reader.consume(buffer.span.extracting(0..<count))
                if reader.isComplete { endRequest() }
            }
        }
    }

    /// After a complete answer: the same again if the connection stays open and more is wanted.
    private func endRequest() {
        // An answer that is no success stays to be looked at.
        if refusal != nil { return state = .finished }
        answers += 1
        let isSent = if case .answering = state { true } else { false }
        guard reader.allowsReuse, isSent, direction == .download else {
            return state = .finished
        }
        bodyBytesBefore &+= reader.bodyBytes
        reader = HTTPResponseReader()
        state = .requesting(0)
    }

    /// Whether bytes may have arrived that no poll will tell of, as TLS has them already.
    var mayHaveMore: Bool { connection.hasBufferedBytes }
}
