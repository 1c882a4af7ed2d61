/// Puts the services of an inventory into the project's files, which name those of an example.
package enum ServiceLines {
    /// In a file of HAProxy or NATS: where consecutive lines differ in nothing but the name of a numbered service,
    /// there is one for each service of the inventory, made as the first of them.
    ///
    /// A line that names none, or more than one, is left alone; so are those of roles without services.
    package static func repeated(_ text: String, for inventory: Inventory) -> String {
        var result: [Substring] = []
        var last: (pattern: String, role: Role)?
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            guard let (service, pattern) = servicePattern(line) else {
                last = nil
                result.append(line)
                continue
            }
            if let last, last == (pattern, service.role) { continue }
            last = (pattern, service.role)
            let services = inventory.services.filter { $0.role == service.role }
            if services.isEmpty {
                result.append(line)
            } else {
                result += services.map { service in
                    Substring(
                        pattern.split(separator: placeholder, omittingEmptySubsequences: false)
                            .joined(separator: service.name))
                }
            }
        }
        return result.joined(separator: "\n")
    }

    /// Stands for a service's name; in no file of ours.
    private static let placeholder: Character = "\u{1}"

    /// The one service that a line names, and the line with its name replaced.
    private static func servicePattern(_ line: Substring) -> (Service, String)? {
        if line.drop(while: { $0 == " " }).hasPrefix("#") { return nil }
        var named: Service?
        var pattern = ""
        var word = ""
        func finish() -> Bool {
            defer { word = "" }
            guard let service = Service(word), service.number != nil else {
                pattern += word
                return true
            }
            if let named, named != service { return false }
            named = service
            pattern.append(placeholder)
            return true
        }
        for character in line {
            if character.isLetter || character.isNumber || character == "-" {
                word.append(character)
            } else {
                guard finish() else { return nil }
                pattern.append(character)
            }
        }
        guard finish(), let named else { return nil }
        return (named, pattern)
    }

    /// In a file of Prometheus: the targets of each job that is called as a role are the metrics of that role's
    /// services.
    package static func scraped(_ text: String, for inventory: Inventory) -> String {
        let targets = Dictionary(
            grouping: inventory.machines.flatMap { machine in
                PortTable.endpoints(of: machine, in: inventory).filter {
                    $0.purpose == "metrics" || $0.purpose == "monitoring"
                }
            }, by: \.service.role)
        var job: Role?
        return text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            let content = line.drop { $0 == " " }
            if content.hasPrefix("- job_name:") {
                job = Role(rawValue: content.dropFirst(11).filter { $0 != " " && $0 != "\"" })
            }
            guard let job, content.hasPrefix("- targets:") else { return String(line) }
            let list = (targets[job] ?? []).sorted { $0.service < $1.service }
                .map { "\"\($0.service.name):\($0.port)\"" }
            return "\(line.prefix { $0 == " " })- targets: [\(list.joined(separator: ", "))]"
        }.joined(separator: "\n")
    }
}
