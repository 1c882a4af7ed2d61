/// What was done and what is under way, from events in their order.
package struct DeploymentRecord: Sendable {
    package private(set) var done: [String] = []
    package private(set) var underWay: [String] = []

    package init() {}

    package mutating func add(_ event: DeploymentEvent) {
        switch event {
        case .began(let name): underWay.append(name)
        case .ended(let name, _):
            if let index = underWay.firstIndex(of: name) { underWay.remove(at: index) }
            done.append(name)
        case .note: break
        }
    }

    /// For whoever has interrupted it.
    package var interruption: String {
        let done =
            done.isEmpty
            ? "nothing was done yet" : "done: \(done.joined(separator: ", "))"
        let half =
            underWay.isEmpty
            ? ""
            : "; begun, and perhaps going on without us: \(underWay.joined(separator: ", "))"
        return "interrupted: \(done)\(half). The same command goes on from there"
    }
}
