internal import Glibc

/// Starts a child by `posix_spawn(3)`: own process group, no inherited files or signal settings.
///
/// - Returns: The child's process id, which the caller must wait for.
func spawn(
    _ arguments: [String], environment: [String: String], logFile: String
) throws(PrivateServerError) -> pid_t {
    var files = posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    try check(posix_spawn_file_actions_init(&files), "posix_spawn_file_actions_init")
    defer { posix_spawn_file_actions_destroy(&files) }
    try check(posix_spawnattr_init(&attributes), "posix_spawnattr_init")
    defer { posix_spawnattr_destroy(&attributes) }

    try check(
        posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0),
        "posix_spawn_file_actions_addopen")
    try check(
        posix_spawn_file_actions_addopen(
            &files, STDOUT_FILENO, logFile, O_WRONLY | O_CREAT | O_APPEND, 0o644),
        "posix_spawn_file_actions_addopen")
    try check(
        posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO),
        "posix_spawn_file_actions_adddup2")
    // libnats and libpq open their sockets without close-on-exec. (glibc's call that closes
    // them all is not visible to Swift; closing one that has gone meanwhile is no error.)
    for descriptor in openDescriptors() where descriptor > STDERR_FILENO {
        try check(
            posix_spawn_file_actions_addclose(&files, descriptor),
            "posix_spawn_file_actions_addclose")
    }

    var all = sigset_t()
    var none = sigset_t()
    sigfillset(&all)
    sigemptyset(&none)
    try check(posix_spawnattr_setsigdefault(&attributes, &all), "posix_spawnattr_setsigdefault")
    try check(posix_spawnattr_setsigmask(&attributes, &none), "posix_spawnattr_setsigmask")
    try check(posix_spawnattr_setpgroup(&attributes, 0), "posix_spawnattr_setpgroup")
    let flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP
    try check(posix_spawnattr_setflags(&attributes, Int16(flags)), "posix_spawnattr_setflags")

    var pid = pid_t()
    let status = withCStrings(arguments) { argv in
        withCStrings(mergedEnvironment(environment)) { envp in
            guard let executable = argv[0] else { return EINVAL }
            return posix_spawn(&pid, executable, &files, &attributes, argv, envp)
        }
    }
    try check(status, "starting \(arguments.first ?? "")")
    return pid
}

/// The parent's environment with `changes` applied, as `NAME=value`.
private func mergedEnvironment(_ changes: [String: String]) -> [String] {
    var lines = changes.map { "\($0.key)=\($0.value)" }
    var entry = environ
    while let line = entry.pointee {
        let text = String(cString: line)
        let name = text.prefix { $0 != "=" }
        if changes[String(name)] == nil {
            lines.append(text)
        }
        entry += 1
    }
    return lines
}

/// Calls `body` with `strings` as the null-terminated array of C strings that `exec` takes.
private func withCStrings<Result>(
    _ strings: [String],
    _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
    pointers.append(nil)
    defer {
        for pointer in pointers {
            free(pointer)
        }
    }
    return body(&pointers)
}

/// Every file descriptor this process has open (`/proc/self/fd`, `proc(5)`).
private func openDescriptors() -> [Int32] {
    guard let folder = opendir("/proc/self/fd") else { return [] }
    defer { closedir(folder) }
    var descriptors: [Int32] = []
    while let entry = readdir(folder) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
            name.withMemoryRebound(to: CChar.self, capacity: 1) { String(cString: $0) }
        }
        if let descriptor = Int32(name) {
            descriptors.append(descriptor)
        }
    }
    return descriptors
}

/// The `posix_spawn` family returns its error instead of setting `errno`.
private func check(_ status: Int32, _ call: String) throws(PrivateServerError) {
    guard status == 0 else { throw .system(call: call, errno: status) }
}
