internal import Glibc
internal import Logging

/// The system's limit on open files, each connection being one.
enum OpenFiles {
    /// What the service needs beside connections to clients.
    private static let others: rlim_t = 256

    /// Raises the process's own limit as far as the system lets it, and warns when it is still too low.
    static func makeRoom(forConnections count: Int, logger: Logger) {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        let wanted = rlim_t(count) + others
        guard limit.rlim_cur < wanted else { return }
        limit.rlim_cur = min(limit.rlim_max, wanted)
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        guard limit.rlim_cur < wanted else { return }
        logger.warning(
            "the limit on open files is below max-connections: raise it, or lower max-connections",
            metadata: ["limit": "\(limit.rlim_cur)", "wanted": "\(wanted)"])
    }
}
