/// What a token is for; each has one purpose, so that one that is stolen serves no other.
package enum TokenRole: String, CaseIterable, Sendable {
    /// Posts events and heartbeats for the clients that it names.
    case probe
    /// Administers the fleet; may not post.
    case fleetAdmin = "fleet-admin"
    /// Reads what the API shows to nobody without a token; may not post.
    case read

    /// All of them, for a sentence.
    package static var list: String {
        let names = allCases.map(\.rawValue)
        return names.dropLast().joined(separator: ", ") + " or " + (names.last ?? "")
    }
}
