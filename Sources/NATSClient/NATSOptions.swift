internal import CNATS
internal import PasswordFiles

/// How to reach a NATS system and how to notice that it is gone.
package struct NATSOptions: Sendable {
    /// One or several servers, `nats://host:port` or `tls://host:port`.
    package var urls: [String]
    /// Shown by the server's monitoring; the service and its role.
    package var name: String
    package var credentials = Credentials.none
    /// What the subjects of answers begin with: with a user's name in it, so that a server can keep users from
    /// each other's answers.
    var inboxPrefix: String {
        switch credentials {
        case .user(let user, _), .userWithPasswordFile(let user, _): "_INBOX.\(user)"
        case .none, .token, .file: "_INBOX"
        }
    }
    package var tls: TLS?
    /// How long one attempt to reach one server may take.
    package var connectTimeout: Duration = .seconds(2)
    /// How long to wait before the servers of the list are tried again.
    package var reconnectWait: Duration = .milliseconds(250)
    /// Added to ``reconnectWait`` at random, so that clients do not return in one wave.
    package var reconnectJitter: Duration = .milliseconds(250)
    /// How often a silent server is asked whether it lives. libnats's default of two minutes
    /// would leave a dead peer unnoticed for as long.
    package var pingInterval: Duration = .seconds(5)
    /// How many questions may be open before the connection counts as lost.
    package var maxPingsOut = 2
    /// How long one write to the socket may take before the connection counts as lost.
    package var writeDeadline: Duration = .seconds(5)
    /// How many bytes of publishes libnats keeps while disconnected, to send them after.
    ///
    /// Such late messages arrive although their publish was reported as failed. libnats cannot
    /// switch this off (0 means its default of 8 MiB); 1 byte lets at most one message through.
    package var reconnectBufferBytes = 1
    /// Whether a publish writes to the socket before it returns. Otherwise it waits up to a
    /// millisecond for company: fewer writes, later messages.
    package var sendsAtOnce = true

    package init(urls: [String], name: String, credentials: Credentials = .none) {
        self.urls = urls
        self.name = name
        self.credentials = credentials
    }

    /// How the client proves who it is.
    package enum Credentials: Sendable {
        case none
        case user(String, password: String)
        /// A user, and a file that holds the password and nothing else; read anew for each
        /// ``NATSConnection``, so that a ``NATSConnector`` picks up a changed one.
        case userWithPasswordFile(String, path: String)
        case token(String)
        /// A file with a user JWT and an NKey seed, as `nsc` writes it.
        case file(String)

        /// What settings say: both are needed to log in.
        package init(user: String?, passwordFile: String?) {
            if let user, let passwordFile {
                self = .userWithPasswordFile(user, path: passwordFile)
            } else {
                self = .none
            }
        }
    }

    /// How the connection is encrypted. libnats before 3.11 may fail under load with TLS
    /// (nats-io/nats.c #913): programs leave it to a sidecar.
    package struct TLS: Sendable {
        /// PEM file with the authorities to trust; `nil` takes the system's.
        package var authoritiesFile: String?
        /// PEM files with the client's certificate chain and its key.
        package var certificateFile: String?
        package var keyFile: String?
        /// The name the server's certificate must bear, when it differs from the URL's host.
        package var expectedHostname: String?

        package init() {}
    }
}

extension NATSOptions {
    /// Calls `body` with libnats's form of these options, which libnats copies.
    func withPointer(
        callbacks: (OpaquePointer) -> natsStatus,
        _ body: (OpaquePointer) throws(NATSError) -> Void
    ) throws(NATSError) {
        var created: OpaquePointer?
        unsafe try check(natsOptions_Create(&created), "natsOptions_Create")
        guard let options = unsafe created else { return }
        defer { unsafe natsOptions_Destroy(options) }
        unsafe try setServers(options)
        unsafe try setCredentials(options)
        unsafe try setTLS(options)
        unsafe try setTimes(options)
        unsafe try check(callbacks(options), "natsOptions callbacks")
        unsafe try body(options)
    }

    private func setServers(_ options: OpaquePointer) throws(NATSError) {
        let status = unsafe withCStrings(urls) { servers, count in
            unsafe natsOptions_SetServers(options, servers, count)
        }
        try check(status, "natsOptions_SetServers")
        unsafe try check(natsOptions_SetName(options, name), "natsOptions_SetName")
        unsafe try check(
            natsOptions_SetCustomInboxPrefix(options, inboxPrefix),
            "natsOptions_SetCustomInboxPrefix")
    }

    private func setCredentials(_ options: OpaquePointer) throws(NATSError) {
        switch credentials {
        case .none:
            break
        case .user(let user, let password):
            unsafe try check(
                natsOptions_SetUserInfo(options, user, password), "natsOptions_SetUserInfo")
        case .userWithPasswordFile(let user, let path):
            let password: String
            do throws(PasswordFile.Problem) {
                password = try PasswordFile(path: path).read()
            } catch {
                throw NATSError(code: .ioError, call: "connect", text: error.message)
            }
            unsafe try check(
                natsOptions_SetUserInfo(options, user, password), "natsOptions_SetUserInfo")
        case .token(let token):
            unsafe try check(natsOptions_SetToken(options, token), "natsOptions_SetToken")
        case .file(let path):
            unsafe try check(
                natsOptions_SetUserCredentialsFromFiles(options, path, nil),
                "natsOptions_SetUserCredentialsFromFiles")
        }
    }

    private func setTLS(_ options: OpaquePointer) throws(NATSError) {
        guard let tls else { return }
        unsafe try check(natsOptions_SetSecure(options, true), "natsOptions_SetSecure")
        if let file = tls.authoritiesFile {
            unsafe try check(
                natsOptions_LoadCATrustedCertificates(options, file),
                "natsOptions_LoadCATrustedCertificates")
        }
        if let certificate = tls.certificateFile, let key = tls.keyFile {
            unsafe try check(
                natsOptions_LoadCertificatesChain(options, certificate, key),
                "natsOptions_LoadCertificatesChain")
        }
        if let hostname = tls.expectedHostname {
            unsafe try check(
                natsOptions_SetExpectedHostname(options, hostname),
                "natsOptions_SetExpectedHostname")
        }
    }

    private func setTimes(_ options: OpaquePointer) throws(NATSError) {
        let jitter = reconnectJitter.millisecondsForNATS
        let bufferBytes = Int32(clamping: max(reconnectBufferBytes, 1))
        unsafe try check(
            natsOptions_SetTimeout(options, connectTimeout.millisecondsForNATS),
            "natsOptions_SetTimeout")
        // The default gives up for ever after 60 attempts.
        unsafe try check(natsOptions_SetMaxReconnect(options, -1), "natsOptions_SetMaxReconnect")
        unsafe try check(
            natsOptions_SetReconnectWait(options, reconnectWait.millisecondsForNATS),
            "natsOptions_SetReconnectWait")
        unsafe try check(
            natsOptions_SetReconnectJitter(options, jitter, jitter),
            "natsOptions_SetReconnectJitter")
        unsafe try check(
            natsOptions_SetReconnectBufSize(options, bufferBytes),
            "natsOptions_SetReconnectBufSize")
        unsafe try check(
            natsOptions_SetPingInterval(options, pingInterval.millisecondsForNATS),
            "natsOptions_SetPingInterval")
        unsafe try check(
            natsOptions_SetMaxPingsOut(options, Int32(clamping: maxPingsOut)),
            "natsOptions_SetMaxPingsOut")
        unsafe try check(
            natsOptions_SetWriteDeadline(options, writeDeadline.millisecondsForNATS),
            "natsOptions_SetWriteDeadline")
        unsafe try check(
            natsOptions_SetSendAsap(options, sendsAtOnce), "natsOptions_SetSendAsap")
        // A request whose connection is lost fails at once instead of at its time limit.
        unsafe try check(
            natsOptions_SetFailRequestsOnDisconnect(options, true),
            "natsOptions_SetFailRequestsOnDisconnect")
    }
}

/// Calls `body` with `strings` as an array of C strings, valid for the call.
func withCStrings<Result>(
    _ strings: [String],
    _ body: (UnsafeMutablePointer<UnsafePointer<CChar>?>, Int32) -> Result
) -> Result {
    // One block holds all texts, so that their addresses do not depend on nested closures.
    var bytes: [CChar] = []
    var offsets: [Int] = []
    for string in strings {
        offsets.append(bytes.count)
        bytes.append(contentsOf: string.utf8CString)
    }
    return unsafe bytes.withUnsafeBufferPointer { bytes in
        var pointers = unsafe offsets.map { offset in
            unsafe bytes.baseAddress.map { unsafe $0 + offset }
        }
        return unsafe body(&pointers, Int32(clamping: strings.count))
    }
}
