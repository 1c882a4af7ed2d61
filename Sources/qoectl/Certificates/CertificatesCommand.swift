import ArgumentParser

/// The installation's own authority and what it signs.
struct CertificatesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "certs",
        abstract: "The installation's authority, and a certificate for each service.",
        discussion: """
            FOLDER/ca.pem is the authority's certificate (10 years) and FOLDER/ca.key its key, which never \
            leaves this machine. FOLDER/nats-1/ and so on hold what goes to one service: cert.pem (1 \
            year, as a server and as a client), key.pem, ca.pem, and bundle.pem with certificate and key for \
            HAProxy. Keys are readable for their owner alone.

            Exit codes: 0; 1 something ends within 30 days (status), or could not be made; 64 wrong \
            usage; 78 something is wrong with the hosts file.
            """,
        subcommands: [
            InitializeCertificates.self, RenewCertificates.self, ShowCertificates.self,
        ])

    struct FolderOptions: ParsableArguments {
        @Option(
            help: ArgumentHelp(
                "The folder of the authority and its certificates.", valueName: "folder"))
        var out: String

        var folder: CertificateFolder { CertificateFolder(path: out) }
    }
}
