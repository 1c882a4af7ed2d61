/// Makes names that nobody else uses.
///
/// libnats's own generator (`natsInbox_Create`) uses `rand()` without a lock before 3.13.
package enum NATSInbox {
    /// A name without dots or wildcards, unique for all practical purposes.
    package static func randomName() -> String {
        var generator = SystemRandomNumberGenerator()
        let high: UInt64 = generator.next()
        let low: UInt64 = generator.next()
        return String(high, radix: 36) + String(low, radix: 36)
    }
}

extension NATSConnection {
    /// A new prefix of subjects for answers that nobody else listens to, without the last dot: 128 random bits
    /// cannot be guessed or repeated. The user's own, see ``NATSOptions/inboxPrefix``.
    package func makeInboxPrefix() -> String {
        "\(inboxPrefix).\(NATSInbox.randomName())"
    }
}
