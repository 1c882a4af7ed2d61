internal import Transport

/// What was left of the day's traffic, kept so that a probe which is started again and again has no more of it.
struct TrafficFile {
    private let path: String

    /// The largest file that is read, bytes: two numbers.
    private static let bytesMax = 256

    init(stateFolder: String) {
        path = "\(stateFolder)/traffic"
    }

    /// What was left, bytes, and when, Unix milliseconds of the wall clock; nil when nothing usable was kept.
    func read() -> (left: Double, at: Int64)? {
        guard let text = try? SmallFile.read(path, bytesMax: Self.bytesMax) else { return nil }
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count == 2, let left = Double(words[0]), left.isFinite, let at = Int64(words[1])
        else { return nil }
        return (left, at)
    }

    /// Keeps what is left; on a disk that cannot be written the bound still holds until the probe ends.
    func write(left: Double, at: Int64) {
        try? SmallFile.replace(path, with: "\(left) \(at)\n")
    }
}
