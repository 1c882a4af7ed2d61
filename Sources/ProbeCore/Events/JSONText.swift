internal import Telemetry

/// Writes JSON text, one member after the other.
///
/// Events are written many times a second on small machines: this needs no reflection and no
/// intermediate tree, and writes numbers exactly.
struct JSONText {
    private(set) var bytes: [UInt8] = []
    private var needsComma = false

    mutating func object(_ body: (inout JSONText) -> Void) {
        bytes.append(UInt8(ascii: "{"))
        needsComma = false
        body(&self)
        bytes.append(UInt8(ascii: "}"))
        needsComma = true
    }

    mutating func key(_ name: String) {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        string(name)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    mutating func member(_ name: String, _ value: String) {
        key(name)
        string(value)
        needsComma = true
    }

    mutating func member(_ name: String, _ value: some BinaryInteger) {
        key(name)
        bytes += String(value).utf8
        needsComma = true
    }

    /// A finite number.
    mutating func member(_ name: String, _ value: Double) {
        key(name)
        bytes += "\(value)".utf8
        needsComma = true
    }

    mutating func member(_ name: String, _ value: Bool) {
        key(name)
        bytes += (value ? "true" : "false").utf8
        needsComma = true
    }

    mutating func member(_ name: String, _ values: [Int]) {
        key(name)
        bytes.append(UInt8(ascii: "["))
        for (index, value) in values.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            bytes += String(value).utf8
        }
        bytes.append(UInt8(ascii: "]"))
        needsComma = true
    }

    /// Nanoseconds as milliseconds, exactly.
    mutating func member(_ name: String, nanoseconds: Int64) {
        key(name)
        if nanoseconds < 0 { bytes.append(UInt8(ascii: "-")) }
        append(millionths: nanoseconds.magnitude)
        needsComma = true
    }

    mutating func memberTrue(_ name: String) {
        key(name)
        bytes += "true".utf8
        needsComma = true
    }

    mutating func memberNull(_ name: String) {
        key(name)
        bytes += "null".utf8
        needsComma = true
    }

    /// The value in its metric's unit, exact to the millionth and without trailing zeros.
    mutating func member(_ name: String, _ value: MetricValue) {
        key(name)
        append(millionths: value.millionths)
        needsComma = true
    }

    private mutating func append(millionths: UInt64) {
        let scale: UInt64 = 1_000_000
        bytes += String(millionths / scale).utf8
        let fraction = millionths % scale
        if fraction > 0 {
            // The leading 1 keeps the zeros between the point and the first digit.
            var digits = Array(String(scale + fraction).utf8.dropFirst())
            while digits.last == UInt8(ascii: "0") { digits.removeLast() }
            bytes.append(UInt8(ascii: "."))
            bytes += digits
        }
    }

    private mutating func string(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<0x20:
                let digits = String(byte, radix: 16)
                bytes += "\\u00".utf8
                if digits.utf8.count == 1 { bytes.append(UInt8(ascii: "0")) }
                bytes += digits.utf8
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
