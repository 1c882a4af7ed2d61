/// A small generator of pseudo-random numbers (SplitMix64) whose seed a failing test prints, so that the case
/// can be repeated.
package struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) {
        state = seed
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }

    /// Whether something happens that happens in `percent` of 100 cases.
    package mutating func chance(_ percent: Int) -> Bool {
        next() % 100 < UInt64(clamping: percent)
    }
}
