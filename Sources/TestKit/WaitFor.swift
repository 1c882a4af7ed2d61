internal import Glibc

/// Blocks until `condition` holds, asking it every few milliseconds.
///
/// - Returns: Whether it held before `limit` had passed.
package func eventually(
    within limit: Duration = .seconds(20), _ condition: () throws -> Bool
) rethrows -> Bool {
    let deadline = ContinuousClock.now + limit
    repeat {
        if try condition() {
            return true
        }
        usleep(5_000)
    } while ContinuousClock.now < deadline
    return try condition()
}
