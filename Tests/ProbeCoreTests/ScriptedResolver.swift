import Transport

/// A resolver over UDP and TCP that answers each question as a test wants.
struct ScriptedResolver {
    private let datagrams: ScriptedDatagrams
    private let streams: RawServer

    /// - Parameters:
    ///   - overUDP: The packets to send for a question.
    ///   - overTCP: The bytes to send for a question, then the connection is closed; without the length in
    ///     front, which is put there.
    init(
        overUDP: @escaping @Sendable ([UInt8]) -> [ScriptedDatagrams.Reply],
        overTCP: @escaping @Sendable ([UInt8]) -> [UInt8]? = { _ in nil }
    ) throws {
        // The same port for both; another one is tried when the first is taken for the other.
        var attempts = 0
        while true {
            let streams = try RawServer { connection, patience in
                var received: [UInt8] = []
                var piece = [UInt8](repeating: 0, count: 4096)
                while received.count < 2
                    || received.count < 2 + Int(received[0]) * 256 + Int(received[1])
                {
                    let count = try connection.read(into: &piece, patience)
                    if count == 0 { return }
                    received += piece[..<count]
                }
                guard let answer = overTCP(Array(received.dropFirst(2))) else { return }
                // In two parts, as a stream may come.
                let framed = [UInt8(answer.count >> 8), UInt8(answer.count & 0xFF)] + answer
                let (first, rest) = (Array(framed[..<1]), Array(framed[1...]))
                try connection.write(first.span, patience)
                try connection.write(rest.span, patience)
                connection.finishWriting()
                try connection.drain(patience)
            }
            do {
                datagrams = try ScriptedDatagrams(port: streams.port) { _, packet in
                    overUDP(packet)
                }
                self.streams = streams
                return
            } catch let error as TransportError {
                attempts += 1
                if attempts > 20 { throw error }
            }
        }
    }

    var address: String { "127.0.0.1:\(streams.port)" }
}

/// Builds an answer from a question as the probe sends it.
struct AnswerBuilder {
    /// Of the header; the answer flag and those of recursion are set.
    var flags: UInt16 = 0x8180
    var code: UInt16 = 0
    /// Each with its type, time to live and data, for the name asked for.
    var records: [(type: UInt16, timeToLive: UInt32, data: [UInt8])] = []

    func answer(_ question: [UInt8]) -> [UInt8] {
        // Without the OPT record at its end.
        var bytes = Array(question.dropLast(11))
        let flags = flags | code
        bytes[2] = UInt8(flags >> 8)
        bytes[3] = UInt8(flags & 0xFF)
        bytes[7] = UInt8(records.count)
        bytes[11] = 0
        for record in records {
            // A pointer to the question's name, then the class IN.
            bytes += [0xC0, 12, UInt8(record.type >> 8), UInt8(record.type & 0xFF), 0, 1]
            bytes += [24, 16, 8, 0].map { UInt8(record.timeToLive >> UInt32($0) & 0xFF) }
            bytes += [UInt8(record.data.count >> 8), UInt8(record.data.count & 0xFF)]
            bytes += record.data
        }
        return bytes
    }
}
