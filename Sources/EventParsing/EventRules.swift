internal import Telemetry

/// What the validity of an event depends on beside the event itself.
package struct EventRules: Hashable, Sendable {
    /// The server's clock, Unix milliseconds.
    package var nowMilliseconds: Int64
    /// How old `ts_ms` may be: the retention of `agg_1m`, ms. Everything younger has a partition to go to.
    package var retentionMilliseconds: Int64

    package init(
        nowMilliseconds: Int64,
        retentionMilliseconds: Int64 = EventLimits.retentionMillisecondsDefault
    ) {
        self.nowMilliseconds = nowMilliseconds
        self.retentionMilliseconds = retentionMilliseconds
    }
}
