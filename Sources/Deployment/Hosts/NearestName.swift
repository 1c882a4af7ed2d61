internal import Spelling

/// Finds which of our names was probably meant.
enum NearestName {
    /// The mistake in a name in lower case that is no service's; nil when it looks like none of ours.
    static func mistake(in name: String) -> Service.Meaning? {
        let stem = name.prefix(name.count - trailingDigits(of: name).count)
        let bareStem = stem.last == "-" ? stem.dropLast() : stem
        // A role's own word with the wrong rest.
        for role in Role.allCases {
            let word = role.rawValue
            switch role.naming {
            case .numbered where name == word || name.hasPrefix("\(word)-") || bareStem == word:
                return .mistaken(
                    for: role,
                    advice: "after \(word)- comes a number from 1 to \(Service.numberMax) without "
                        + "zeros before it, such as \(word)-1")
            case .free where name == word || name.hasPrefix("\(word)-"):
                return .mistaken(
                    for: role,
                    advice:
                        "after \(word)- come letters, digits and hyphens, such as \(word)-berlin-1")
            default: continue
            }
        }
        if name == "postgres" || name.hasPrefix("postgres-"),
            nearest(to: name, among: singles) == nil
        {
            return .mistaken(
                for: .postgresPrimary, advice: "write postgres-primary or postgres-replica")
        }
        // A slip in the role's word.
        if let role = nearest(to: name, among: singles) {
            return .mistaken(for: role, advice: "did you mean \(role.rawValue)?")
        }
        let number = trailingDigits(of: name)
        if !number.isEmpty, let role = nearest(to: String(bareStem), among: numbered) {
            return .mistaken(for: role, advice: "did you mean \(role.rawValue)-\(number)?")
        }
        if let hyphen = name.firstIndex(of: "-"),
            let role = nearest(to: String(name[..<hyphen]), among: free)
        {
            return .mistaken(
                for: role, advice: "did you mean \(role.rawValue)\(name[hyphen...])?")
        }
        return nil
    }

    private static let singles = Role.allCases.filter { $0.naming == .single }
    private static let numbered = Role.allCases.filter { $0.naming == .numbered }
    private static let free = Role.allCases.filter {
        $0.naming == .free || $0.naming == .freeOrSingle
    }

    private static func trailingDigits(of name: String) -> Substring {
        name.suffix(
            name.count
                - (name.lastIndex { !("0"..."9").contains($0) }.map {
                    name.distance(from: name.startIndex, to: $0) + 1
                } ?? 0))
    }

    private static func nearest(to word: String, among roles: [Role]) -> Role? {
        Spelling.nearest(to: word, in: roles.map(\.rawValue)).flatMap(Role.init(rawValue:))
    }
}
