import ArgumentParser
import Deployment
import Foundation
import OperatorCore
import Transport

struct ShowCertificates: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Shows which certificate ends when.",
        discussion: """
            Exit codes: 0; 1 one ends within 30 days, has ended, has no key that fits, or cannot be read; 64 \
            wrong usage.
            """)

    @OptionGroup var out: CertificatesCommand.FolderOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        try interruptibly { _ in
            guard out.folder.hasAuthority else {
                throw CommandFailure(
                    "there is no authority in \(out.out); qoectl certs init makes one")
            }
            let now = CertificateFolder.nowSeconds
            let entries = try out.folder.stored().map { name, certificate, hasKey in
                CertificateDocument(
                    name: name, names: certificate.names,
                    expires_at: Date(
                        timeIntervalSince1970: Double(certificate.expiresAtSeconds)
                    ).formatted(.iso8601),
                    days_left: Int((certificate.expiresAtSeconds - now) / 86_400),
                    state: certificate.expiresAtSeconds <= now
                        ? "EXPIRED"
                        : !hasKey
                            ? "NO KEY"
                            : CertificateRequest.isEnding(
                                certificate.expiresAtSeconds, nowSeconds: now)
                                ? "EXPIRING" : "good")
            }
            if json {
                try sayJSON(entries)
            } else {
                say(lines(entries).joined(separator: "\n"))
            }
            if entries.contains(where: { $0.state != "good" }) {
                complain(
                    entries.first?.state == "NO KEY"
                        ? "The authority's key is lost: put ca.key back from a copy, or begin anew in another folder."
                        : "Some end within 30 days or have no key: qoectl certs renew makes them anew."
                )
                throw ArgumentParser.ExitCode(1)
            }
        }
    }

    private func lines(_ entries: [CertificateDocument]) -> [String] {
        var table = TextTable([
            ("NAME", .left), ("STATE", .left), ("EXPIRES", .left), ("DAYS", .right),
            ("FOR", .left),
        ])
        for entry in entries {
            table.add([
                entry.name, entry.state, entry.expires_at, "\(entry.days_left)",
                entry.names.isEmpty ? "-" : entry.names.joined(separator: ", "),
            ])
        }
        return table.lines
    }
}

/// A certificate's state, as JSON too.
private struct CertificateDocument: Encodable {
    let name: String
    let names: [String]
    let expires_at: String
    let days_left: Int
    let state: String
}
