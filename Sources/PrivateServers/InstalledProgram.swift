internal import Glibc

/// Finds installed programs.
package enum InstalledProgram {
    /// Where servers lie on Debian beside what `PATH` names; root's `PATH` often lacks `sbin`.
    private static let usualFolders = [
        "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
    ]

    /// The absolute path of the program `name`.
    ///
    /// - Parameters:
    ///   - debianPackage: The package to name when the program is missing.
    ///   - alsoIn: Folders to search before all others, such as `/usr/lib/postgresql/15/bin`.
    /// - Throws: ``PrivateServerError/missingProgram(name:debianPackage:searched:)``.
    package static func find(
        _ name: String, debianPackage: String, alsoIn folders: [String] = []
    ) throws(PrivateServerError) -> String {
        let path = getenv("PATH").map { String(cString: $0) } ?? ""
        let fromPath = path.split(separator: ":").map(String.init)
        var searched: [String] = []
        for folder in folders + fromPath + usualFolders
        where folder.hasPrefix("/") && !searched.contains(folder) {
            let candidate = "\(folder)/\(name)"
            if access(candidate, X_OK) == 0 {
                return candidate
            }
            searched.append(folder)
        }
        throw .missingProgram(name: name, debianPackage: debianPackage, searched: searched)
    }
}

/// An account of this machine.
package struct Account: Sendable, Equatable {
    package let name: String
    package let userIdentifier: UInt32
    package let groupIdentifier: UInt32

    /// Looks `name` up in the machine's account database.
    package init(named name: String) throws(PrivateServerError) {
        guard let entry = getpwnam(name) else { throw .unknownAccount(name: name) }
        self.name = name
        userIdentifier = entry.pointee.pw_uid
        groupIdentifier = entry.pointee.pw_gid
    }

    /// Whether this process runs as root, which servers such as PostgreSQL refuse.
    package static var isRoot: Bool { geteuid() == 0 }
}
