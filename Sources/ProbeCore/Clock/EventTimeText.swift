/// The members with which an event's JSON begins: when it was measured.
///
/// They come first, so that a time that is learned later can be written over without taking the rest apart.
enum EventTimeText {
    /// Writes the members.
    static func write(
        _ milliseconds: Int64, _ correction: ClockCorrection?, to text: inout JSONText
    ) {
        text.member("ts_ms", milliseconds)
        guard let correction else { return }
        text.member("clock_offset_ms", nanoseconds: correction.offsetNanoseconds)
        text.member("clock_uncertainty_ms", nanoseconds: correction.uncertaintyNanoseconds)
    }

    /// The event with another time; nil when it does not begin with the time that it should have.
    static func replacing(
        _ old: Int64, with milliseconds: Int64, _ correction: ClockCorrection, in json: [UInt8]
    ) -> [UInt8]? {
        var before = JSONText()
        before.object { write(old, nil, to: &$0) }
        // Without the closing brace, behind which the event's next member goes on.
        let start = before.bytes.dropLast()
        guard json.starts(with: start), json.dropFirst(start.count).first == UInt8(ascii: ",")
        else { return nil }
        var after = JSONText()
        after.object { write(milliseconds, correction, to: &$0) }
        return after.bytes.dropLast() + json.dropFirst(start.count)
    }
}
