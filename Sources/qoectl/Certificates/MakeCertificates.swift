import ArgumentParser
import Deployment
import Transport

struct InitializeCertificates: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Makes the authority, and a certificate for each service of the hosts file.",
        discussion: """
            Run again, it keeps the authority and every good certificate, and makes what is missing, ends \
            within 30 days, or is for other names or addresses than the hosts file has.

            Exit codes: 0; 1 something could not be made; 64 wrong usage; 78 something is wrong with \
            the hosts file.
            """)

    @OptionGroup var hosts: HostsOptions

    @OptionGroup var out: CertificatesCommand.FolderOptions

    func run() throws {
        let inventory = try hosts.inventory()
        try interruptibly { _ in
            let folder = out.folder
            let isNew = !folder.hasAuthority
            let authority = try isNew ? folder.makeAuthority() : folder.readAuthority()
            say("\(folder.authorityFile): \(isNew ? "made; keep ca.key secret" : "kept")")
            try makeCertificates(inventory, folder, authority, isForced: false)
        }
    }
}

struct RenewCertificates: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "renew",
        abstract: "Makes anew what ends soon, by the same authority.",
        discussion: """
            The same as a second init, but never makes an authority. The services read their files \
            again once they are where they belong.

            Exit codes: 0; 1 there is no authority, or something could not be made; 64 wrong usage; \
            78 something is wrong with the hosts file.
            """)

    @OptionGroup var hosts: HostsOptions

    @OptionGroup var out: CertificatesCommand.FolderOptions

    @Flag(help: "Make all certificates anew, with new keys.")
    var force = false

    func run() throws {
        let inventory = try hosts.inventory()
        try interruptibly { _ in
            guard out.folder.hasAuthority else {
                throw CommandFailure(
                    "there is no authority in \(out.out); qoectl certs init makes one")
            }
            try makeCertificates(
                inventory, out.folder, out.folder.readAuthority(), isForced: force)
        }
    }
}

func makeCertificates(
    _ inventory: Inventory, _ folder: CertificateFolder, _ authority: LocalAuthority,
    isForced: Bool
) throws {
    let requests = inventory.certificateRequests
    let made = try folder.make(requests, by: authority, isForced: isForced)
    for entry in made {
        let names = entry.request.names.joined(separator: ", ")
        say("\(folder.path)/\(entry.request.service.name)/: made (\(entry.reason)) for \(names)")
    }
    say("\(made.count) made, \(requests.count - made.count) kept")
}
