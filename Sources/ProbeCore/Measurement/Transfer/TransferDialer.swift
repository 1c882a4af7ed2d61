internal import Transport

/// Opens the connections of a transfer, before its clock begins.
struct TransferDialer: Sendable {
    let dialer: Dialer

    /// What came of it.
    struct Dialled {
        /// The first connection, of which times and details are told.
        var progress = Dialer.Progress()
        var connections: [Connection] = []
        /// Those beyond the first that could not be opened.
        var failed = 0
    }

    /// Opens a connection by name, and the others to the address that answered.
    ///
    /// One beyond the first that fails is done without, and no more are opened after it, nor when dialling would
    /// take from the transfer's own time.
    ///
    /// - Throws: Why the first connection failed; `dialled` has its progress.
    func dial(
        _ url: HTTPURL, _ family: AddressFamily?, _ budget: TransferBudget, _ patience: Patience,
        _ dialled: inout Dialled
    ) throws(TransportError) {
        let first = try dialer.dial(url, family: family, patience, &dialled.progress)
        dialled.connections = [first]
        // Half of what is left when the transfer would take more than all of it.
        let left = patience.remaining
        let dialling = max(left - budget.duration, left / 2)
        let limit = patience.ending(by: .now().advanced(by: dialling))
        while dialled.connections.count < budget.connections {
            do throws(TransportError) {
                var progress = Dialer.Progress()
                dialled.connections.append(
                    try dialer.dial(url, at: first.remoteAddress, limit, &progress))
            } catch {
                if error.code == .interrupted { throw error }
                dialled.failed = budget.connections - dialled.connections.count
                return
            }
        }
    }
}
