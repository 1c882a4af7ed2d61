/// One of ours, by the name that the hosts file gives it.
package struct Service: Sendable, Hashable {
    /// Such as `nats-1`: lower-case letters, digits and hyphens, at most 63.
    package let name: String
    package let role: Role
    /// Of a numbered role; from 1 to ``numberMax``.
    package let number: Int?

    /// More of one role is a slip of the finger.
    static let numberMax = 999

    /// What stands in a hosts file under a name.
    enum Meaning: Equatable {
        case service(Service)
        /// A name that is not ours.
        case other
        /// A name that was probably meant to be one of ours, and what to write instead.
        case mistaken(for: Role, advice: String)
    }

    static func meaning(of name: String) -> Meaning {
        if let service = Service(name) { return .service(service) }
        // Names with a domain are a machine's other names.
        guard !name.utf8.contains(UInt8(ascii: ".")) else { return .other }
        let lower = name.lowercased()
        if lower != name, let service = Service(lower) {
            return .mistaken(for: service.role, advice: "write it \(lower)")
        }
        return NearestName.mistake(in: lower) ?? .other
    }

    /// Nil when the name is not of the form that a role's names have.
    package init?(_ name: String) {
        for role in Role.allCases {
            let rest = name.dropFirst(role.rawValue.count)
            guard name.hasPrefix(role.rawValue) else { continue }
            switch role.naming {
            case .single: guard rest.isEmpty else { continue }
            case .numbered:
                guard rest.first == "-", let number = Self.number(rest.dropFirst()) else {
                    continue
                }
                self.init(name: name, role: role, number: number)
                return
            case .free: guard Self.isSuffix(rest) else { continue }
            case .freeOrSingle: guard rest.isEmpty || Self.isSuffix(rest) else { continue }
            }
            self.init(name: name, role: role, number: nil)
            return
        }
        return nil
    }

    private init(name: String, role: Role, number: Int?) {
        self.name = name
        self.role = role
        self.number = number
    }

    private static func number(_ text: Substring) -> Int? {
        guard let number = Int(text), (1...numberMax).contains(number), "\(number)" == text else {
            return nil
        }
        return number
    }

    private static func isSuffix(_ text: Substring) -> Bool {
        let body = text.dropFirst().utf8
        return text.first == "-" && body.last != UInt8(ascii: "-") && !body.isEmpty
            && body.allSatisfy {
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || $0 == UInt8(ascii: "-")
            }
    }
}

extension Service: Comparable {
    /// In the order of the start, then by number, then by name.
    package static func < (left: Service, right: Service) -> Bool {
        if left.role != right.role { return left.role.order < right.role.order }
        if left.number != right.number { return (left.number ?? 0) < (right.number ?? 0) }
        return left.name < right.name
    }
}
