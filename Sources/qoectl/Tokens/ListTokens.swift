import ArgumentParser
import Foundation
import IngestCore
import OperatorCore

struct ListTokens: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Lists the tokens, never a secret.")

    @OptionGroup var file: TokenCommand.FileOptions

    func run() throws {
        var table = TextTable([
            ("ID", .left), ("NAME", .left), ("ROLE", .left), ("CLIENTS", .left),
            ("CREATED", .left), ("EXPIRES", .left), ("ROTATED", .left), ("OLD SECRET UNTIL", .left),
            ("EVENTS/S", .right), ("BYTES/S", .right),
        ])
        let now = Date.now
        for entry in try TokenFile.list(in: file.path) {
            let end = entry.expires.map(Self.text) ?? "never"
            let overlapEnd = entry.overlapEnd(at: now)
            // Dates in the file have whole seconds: a quick rotation has the date of the making.
            let isRotated = entry.rotated > entry.created || overlapEnd != nil
            table.add([
                entry.id, entry.name, entry.role.rawValue,
                entry.role == .probe ? entry.scope.patterns.joined(separator: ",") : "-",
                Self.text(entry.created), entry.isValid(at: now) ? end : "expired \(end)",
                isRotated ? Self.text(entry.rotated) : "-",
                overlapEnd.map(Self.text) ?? "-",
                entry.eventsPerSecondMax.map(String.init) ?? "-",
                entry.bytesPerSecondMax.map(String.init) ?? "-",
            ])
        }
        for line in table.lines { print(line) }
    }

    private static func text(_ moment: Date) -> String { moment.formatted(.iso8601) }
}
