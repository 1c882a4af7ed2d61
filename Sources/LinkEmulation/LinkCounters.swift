/// What became of the packets of one direction since the link exists.
///
/// Nothing disappears uncounted: ``arrived`` + ``duplicated`` is always the sum of ``delivered``, ``lost``,
/// ``droppedByQueue``, ``droppedByWire``, ``refused`` and ``inside``.
package struct LinkCounters: Sendable, Equatable {
    /// Packets that the link has taken up, and their bytes, IP headers included.
    package var arrived: UInt64 = 0
    package var arrivedBytes: UInt64 = 0
    /// Packets that the other end has received, and their bytes.
    package var delivered: UInt64 = 0
    package var deliveredBytes: UInt64 = 0
    /// By ``Impairment/loss``.
    package var lost: UInt64 = 0
    /// By ``Impairment/queue``, which was full.
    package var droppedByQueue: UInt64 = 0
    /// Because more packets were on the wire than the emulation keeps.
    package var droppedByWire: UInt64 = 0
    /// The kernel did not take them at the other end.
    package var refused: UInt64 = 0
    /// Second copies by ``Impairment/duplication``.
    package var duplicated: UInt64 = 0
    /// Packets to which ``Impairment/reordering`` has added its delay.
    package var heldBack: UInt64 = 0
    /// Packets that were delivered after one which had arrived later (RFC 4737, type-P-reordered); of two copies only the
    /// first counts.
    package var reordered: UInt64 = 0
    /// Packets in the queue and on the wire at this moment.
    package var inside: UInt64 = 0
    /// Multicast, such as the kernel's own search for routers and groups, which the link never carries and does not count
    /// as arrived: otherwise no measurement could be compared with the counters exactly.
    package var ignored: UInt64 = 0
    /// Packets that the kernel has dropped before the link could take them up, as the link was not fast enough; nil when
    /// unknown. A measurement during which this rises is one of the machine, not of the settings.
    package var missed: UInt64?
}
