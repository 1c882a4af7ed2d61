internal import Glibc
internal import Transport

/// Whether the probe can keep what must outlive it, and whether one is doing so at this moment.
///
/// Makes nothing that stays: a folder made by root would keep out the probe of another user.
struct StateFolderCheck {
    static let name = "state folder"

    let finding: CheckFinding
    /// Whether a probe runs that uses the folder.
    let isHeld: Bool
    /// The folder, or while it is not there yet the one it will be made in; nil when there is none to use.
    let place: String?

    private static let remedy =
        "make it writable for the user of the probe, or name another one with --state-dir"

    private init(_ finding: CheckFinding, isHeld: Bool = false, place: String? = nil) {
        self.finding = finding
        self.isHeld = isHeld
        self.place = place
    }

    init(_ folder: String?) {
        guard let folder else {
            self.init(
                .failed(
                    Self.name, "there is none, as this user has no home",
                    "name a folder with --state-dir"))
            return
        }
        var status = stat()
        guard stat(folder, &status) == 0 else {
            self.init(missing: folder, errno)
            return
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            self.init(.failed(Self.name, "\(folder) is not a folder", Self.remedy))
            return
        }
        switch Self.lock(in: folder) {
        case .held(let process):
            let holder = process.map { " (process \($0))" } ?? ""
            self.init(
                .ok(
                    Self.name,
                    "\(folder) is in use by a running probe\(holder), whose spool is left alone"),
                isHeld: true, place: folder)
        case .unusable(let number):
            self.init(
                .failed(
                    Self.name, "\(folder)/lock cannot be used: \(Self.reason(number))",
                    "run the probe, and this check, as the user whom the folder belongs to"),
                place: folder)
        case .free:
            self.init(trying: folder, owner: status.st_uid)
        }
    }

    private init(missing folder: String, _ number: Int32) {
        guard number == ENOENT, let parent = Self.nearest(above: folder) else {
            self.init(
                .failed(Self.name, "\(folder) is not there: \(Self.reason(number))", Self.remedy))
            return
        }
        if let number = Self.tryWriting(in: parent) {
            self.init(
                .failed(
                    Self.name,
                    "\(folder) cannot be made in \(parent): \(Self.reason(number))", Self.remedy))
            return
        }
        self.init(
            .ok(Self.name, "\(folder) is not there yet; the probe will make it"), place: parent)
    }

    private init(trying folder: String, owner: uid_t) {
        if let number = Self.tryWriting(in: folder) {
            self.init(
                .failed(
                    Self.name, "\(folder) cannot be written: \(Self.reason(number))", Self.remedy),
                place: folder)
        } else if geteuid() == 0 && owner != 0 {
            self.init(
                .warning(
                    Self.name,
                    "\(folder) belongs to user \(owner), and this check runs as root, who may"
                        + " do more",
                    "run this check as the user of the probe, such as by 'sudo -u'"), place: folder)
        } else {
            self.init(
                .ok(Self.name, "\(folder) can be written, and no other probe uses it"),
                place: folder)
        }
    }

    private enum Lock {
        case free
        /// By the process with this number, as far as it is known.
        case held(Substring?)
        case unusable(Int32)
    }

    private static func lock(in folder: String) -> Lock {
        let path = "\(folder)/lock"
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return errno == ENOENT ? .free : .unusable(errno) }
        defer { close(descriptor) }
        // A shared lock that is given up at once: a probe that starts in this moment waits longer than that.
        guard flock(descriptor, LOCK_SH | LOCK_NB) != 0 else {
            return access(path, R_OK | W_OK) == 0 || errno == EROFS ? .free : .unusable(errno)
        }
        guard errno == EWOULDBLOCK else { return .unusable(errno) }
        let text = try? SmallFile.read(path, bytesMax: 64)
        return .held(text?.split(whereSeparator: \.isWhitespace).first)
    }

    /// Why nothing can be written; nil when it can.
    private static func tryWriting(in folder: String) -> Int32? {
        let path = "\(folder)/probe-check-\(getpid())"
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return errno }
        defer {
            close(descriptor)
            unlink(path)
        }
        return write(descriptor, [UInt8(0)], 1) == 1 ? nil : errno
    }

    private static func nearest(above path: String) -> String? {
        var parts = path.split(separator: "/", omittingEmptySubsequences: true)
        while parts.popLast() != nil {
            let above =
                (path.hasPrefix("/") ? "/" : "") + parts.joined(separator: "/")
            let folder = above.isEmpty ? "." : above
            if access(folder, F_OK) == 0 { return folder }
        }
        return nil
    }

    private static func reason(_ number: Int32) -> String {
        TransportError.text(ofErrno: number)
    }
}
