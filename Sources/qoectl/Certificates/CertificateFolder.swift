import Deployment
import Foundation
import Transport

/// An authority's folder: its certificate and key, and a folder for each service.
struct CertificateFolder {
    let path: String

    var authorityFile: String { "\(path)/ca.pem" }
    var authorityKeyFile: String { "\(path)/ca.key" }

    private static let authorityLife = Duration.seconds(10 * 365 * 86_400)
    private static let certificateLife = Duration.seconds(365 * 86_400)

    /// What was done about one request.
    struct Made {
        let request: CertificateRequest
        let reason: String
    }

    var hasAuthority: Bool {
        [authorityFile, authorityKeyFile].contains { FileManager.default.fileExists(atPath: $0) }
    }

    func readAuthority() throws -> LocalAuthority {
        let authority: LocalAuthority
        do throws(TransportError) {
            authority = try LocalAuthority(
                certificateFile: authorityFile, keyFile: authorityKeyFile)
        } catch {
            throw CommandFailure(
                "the authority in \(path) cannot be used: \(error.message); put its ca.pem and ca.key back "
                    + "from a copy, or begin anew in another folder")
        }
        if let end = authority.expiresAtSeconds, end <= Self.nowSeconds {
            throw CommandFailure(
                "the authority \(authorityFile) has expired; make a new one with qoectl certs init in "
                    + "another folder, and hand out all certificates again")
        }
        return authority
    }

    /// Makes a new authority, and the folder if need be.
    func makeAuthority() throws -> LocalAuthority {
        try Self.makeFolder(path, mode: 0o700)
        let authority = try LocalAuthority(
            name: "QoE installation authority", validFor: Self.authorityLife)
        try authority.writeKey(to: authorityKeyFile)
        try authority.writeCertificate(to: authorityFile)
        return authority
    }

    /// Makes those of `requests` that are not there or not good.
    ///
    /// - Parameter isForced: Makes them all.
    func make(
        _ requests: [CertificateRequest], by authority: LocalAuthority, isForced: Bool
    ) throws -> [Made] {
        var made: [Made] = []
        for request in requests {
            let folder = "\(path)/\(request.service.name)"
            let found = request.reasonToMake(
                facts(of: folder, authority), nowSeconds: Self.nowSeconds)
            if let reason = found ?? (isForced ? "asked for" : nil) {
                // Those who run the service must get to the files, which have modes of their own.
                try Self.makeFolder(folder, mode: 0o755)
                try authority.issue(
                    for: request.names, validFor: Self.certificateLife,
                    certificateFile: "\(folder)/cert.pem", keyFile: "\(folder)/key.pem")
                made.append(Made(request: request, reason: reason))
            }
            // What is right stays untouched: a second run changes nothing.
            let files = FileManager.default
            if !files.contentsEqual(atPath: authorityFile, andPath: "\(folder)/ca.pem") {
                try authority.writeCertificate(to: "\(folder)/ca.pem")
            }
            try Self.writeBundle(in: folder)
        }
        return made
    }

    private func facts(
        of folder: String, _ authority: LocalAuthority
    ) -> CertificateRequest.Facts? {
        let file = "\(folder)/cert.pem"
        // One that cannot be read is as good as none.
        guard let certificate = try? StoredCertificate(file: file) else { return nil }
        return CertificateRequest.Facts(
            names: Set(certificate.names), expiresAtSeconds: certificate.expiresAtSeconds,
            isOfAuthority: authority.signed(certificate),
            fitsKey: certificate.fits(keyFile: "\(folder)/key.pem"))
    }

    /// What is in the folder, and whether it has its key: the authority first, then by name.
    func stored() throws -> [(name: String, certificate: StoredCertificate, hasKey: Bool)] {
        let authority = try StoredCertificate(file: authorityFile)
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: path)
        } catch {
            throw CommandFailure("cannot list \(path): \(error.localizedDescription)")
        }
        let services = try names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            .filter { FileManager.default.fileExists(atPath: "\(path)/\($0)/cert.pem") }
            .map { name in
                let certificate = try StoredCertificate(file: "\(path)/\(name)/cert.pem")
                return (name, certificate, certificate.fits(keyFile: "\(path)/\(name)/key.pem"))
            }
        return [("ca", authority, authority.fits(keyFile: authorityKeyFile))] + services
    }

    static var nowSeconds: Int64 { Int64(Date.now.timeIntervalSince1970) }

    /// Puts certificate and key into one file, as HAProxy reads them, unless that is there.
    private static func writeBundle(in folder: String) throws {
        let (path, new) = ("\(folder)/bundle.pem", "\(folder)/.bundle.pem.new")
        do {
            let wanted = try ["cert.pem", "key.pem"].reduce(into: Data()) { bundle, name in
                bundle += try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(name)"))
            }
            guard FileManager.default.contents(atPath: path) != wanted else { return }
            // A run that was cut short may have left one.
            unlink(new)
            // From its first byte on, it is its owner's alone.
            let descriptor = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
            let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
            try file.write(contentsOf: wanted)
            try file.synchronize()
            guard rename(new, path) == 0 else {
                throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
            }
        } catch {
            throw CommandFailure("cannot write \(path): \(error.localizedDescription)")
        }
    }

    private static func makeFolder(_ path: String, mode: Int) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true,
                attributes: [.posixPermissions: mode])
        } catch {
            throw CommandFailure("cannot make the folder \(path): \(error.localizedDescription)")
        }
    }
}
