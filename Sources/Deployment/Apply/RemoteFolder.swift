/// The folder of an installation on its machines.
package struct RemoteFolder: Sendable, Hashable {
    /// Absolute; letters, digits and `/._-` alone.
    package let path: String

    package static let usual = "/opt/qoe"

    /// Nil when the path is none that can be written without quotes, or is a folder of the system.
    package init?(_ path: String) {
        let parts = path.split(separator: "/")
        guard path.hasPrefix("/"), parts.count >= 2,
            path.utf8.allSatisfy({ byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                    || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                    || "/._-".utf8.contains(byte)
            }), !parts.contains(".."), !parts.contains(".")
        else { return nil }
        self.path = "/" + parts.joined(separator: "/")
    }

    /// Where the machine keeps what is no file of the operator's.
    var state: String { "\(path)/state" }

    /// `docker compose` with the files of a tier, run in the folder.
    package func compose(_ tier: ComposeService.Tier, profile: String? = nil) -> String {
        let environment = tier == .probe ? " --env-file .env.probe --env-file .env" : ""
        let profiles = profile.map { " --profile \($0)" } ?? ""
        return "docker compose --progress quiet\(environment)\(profiles) -f \(tier.file)"
    }
}
