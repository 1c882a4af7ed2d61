internal import CNATS

/// A NATS operation that the world made fail.
package struct NATSError: Error, Sendable, CustomStringConvertible {
    /// What went wrong, under libnats's own names (`natsStatus` in `status.h`).
    ///
    /// A code matches in a `catch`: `catch NATSError.Code.timeout { … }`.
    package struct Code: RawRepresentable, Hashable, Sendable {
        package let rawValue: UInt32

        package init(rawValue: UInt32) {
            self.rawValue = rawValue
        }

        init(_ status: natsStatus) {
            self.init(rawValue: status.rawValue)
        }

        package static let generic = Code(NATS_ERR)
        package static let protocolError = Code(NATS_PROTOCOL_ERROR)
        package static let ioError = Code(NATS_IO_ERROR)
        package static let connectionClosed = Code(NATS_CONNECTION_CLOSED)
        package static let noServer = Code(NATS_NO_SERVER)
        package static let staleConnection = Code(NATS_STALE_CONNECTION)
        package static let connectionDisconnected = Code(NATS_CONNECTION_DISCONNECTED)
        package static let authenticationFailed = Code(NATS_CONNECTION_AUTH_FAILED)
        package static let notPermitted = Code(NATS_NOT_PERMITTED)
        package static let notFound = Code(NATS_NOT_FOUND)
        package static let invalidArgument = Code(NATS_INVALID_ARG)
        package static let invalidSubject = Code(NATS_INVALID_SUBJECT)
        package static let slowConsumer = Code(NATS_SLOW_CONSUMER)
        package static let maxPayload = Code(NATS_MAX_PAYLOAD)
        package static let insufficientBuffer = Code(NATS_INSUFFICIENT_BUFFER)
        package static let timeout = Code(NATS_TIMEOUT)
        package static let tlsError = Code(NATS_SSL_ERROR)
        package static let draining = Code(NATS_DRAINING)
        package static let noResponders = Code(NATS_NO_RESPONDERS)

        package static func ~= (code: Code, error: any Error) -> Bool {
            (error as? NATSError)?.code == code
        }
    }

    package let code: Code
    /// The libnats call that failed.
    package let call: String
    /// libnats's own words; holds no credentials.
    package let text: String
    /// JetStream's error code, when JetStream itself refused.
    package let jetStreamCode: JetStreamErrorCode?

    init(code: Code, call: String, text: String, jetStreamCode: JetStreamErrorCode? = nil) {
        self.code = code
        self.call = call
        self.text = text
        self.jetStreamCode = jetStreamCode
    }

    /// Whether the same call may succeed later without anybody changing anything.
    package var isRetriable: Bool {
        if let jetStreamCode {
            return jetStreamCode.isRetriable
        }
        switch code {
        case .ioError, .noServer, .staleConnection, .connectionDisconnected, .timeout,
            .insufficientBuffer, .noResponders, .slowConsumer:
            return true
        case .authenticationFailed:
            // libnats before 3.8.0 fails about one correct NKey login in 256.
            return true
        default:
            return false
        }
    }

    package var description: String {
        let jetStream = jetStreamCode.map { " (JetStream error \($0.rawValue))" } ?? ""
        return "\(call): \(text)\(jetStream)"
    }
}

/// JetStream's error codes (`jsErrCode` in `status.h`; nats-server's `errors.json`).
package struct JetStreamErrorCode: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    package static let clusterNotAvailable = Self(rawValue: 10008)
    package static let consumerNotFound = Self(rawValue: 10014)
    package static let insufficientResources = Self(rawValue: 10023)
    package static let messageNotFound = Self(rawValue: 10037)
    package static let notEnabledForAccount = Self(rawValue: 10039)
    package static let storageResourcesExceeded = Self(rawValue: 10047)
    package static let streamNameInUse = Self(rawValue: 10058)
    package static let streamNotFound = Self(rawValue: 10059)
    package static let subjectsOverlap = Self(rawValue: 10065)
    package static let replicasNotSupported = Self(rawValue: 10074)
    package static let notEnabled = Self(rawValue: 10076)
    package static let streamStoreFailed = Self(rawValue: 10077)
    package static let streamMaxBytesExceeded = Self(rawValue: 10122)

    package static func ~= (code: JetStreamErrorCode, error: any Error) -> Bool {
        (error as? NATSError)?.jetStreamCode == code
    }

    /// Whether the same request may be granted later: leader elections, servers that come back.
    package var isRetriable: Bool {
        switch rawValue {
        // Not enough peers, not the leader, temporarily unavailable, offline.
        case 10004, 10005, 10007, 10008, 10009, 10118, 10119: true
        default: false
        }
    }
}

/// Turns a libnats status into a thrown error.
///
/// The text belongs to the calling thread (`nats_GetLastError`), so it is read at once.
/// `NATS_INVALID_ARG` is thrown too: subjects and URLs come from configuration files.
func check(
    _ status: natsStatus, _ call: String, jetStream: jsErrCode = jsErrCode(rawValue: 0)
) throws(NATSError) {
    guard status != NATS_OK else { return }
    throw lastError(status, call, jetStream: jetStream)
}

func lastError(
    _ status: natsStatus, _ call: String, jetStream: jsErrCode = jsErrCode(rawValue: 0)
) -> NATSError {
    var lastStatus = NATS_OK
    let lastText = unsafe nats_GetLastError(&lastStatus).map { unsafe String(cString: $0) } ?? ""
    let statusText = unsafe natsStatus_GetText(status).map { unsafe String(cString: $0) } ?? ""
    let text = lastStatus == status && !lastText.isEmpty ? lastText : statusText
    return NATSError(
        code: NATSError.Code(status), call: call, text: text,
        jetStreamCode: jetStream.rawValue == 0
            ? nil : JetStreamErrorCode(rawValue: jetStream.rawValue))
}

extension Duration {
    /// Whole milliseconds for libnats's time limits, at least 1: it takes 0 as "no limit" or
    /// refuses it.
    var millisecondsForNATS: Int64 {
        let (seconds, attoseconds) = components
        let milliseconds = seconds.multipliedReportingOverflow(by: 1000)
        guard !milliseconds.overflow else { return seconds < 0 ? 1 : Int64(Int32.max) }
        let total = milliseconds.partialValue &+ attoseconds / 1_000_000_000_000_000
        return min(max(total, 1), Int64(Int32.max))
    }

    /// Whole nanoseconds, as JetStream's configuration has them; saturates.
    var nanosecondsForNATS: Int64 {
        let (seconds, attoseconds) = components
        let nanoseconds = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        guard !nanoseconds.overflow else { return seconds < 0 ? .min : .max }
        return nanoseconds.partialValue.addingReportingOverflow(attoseconds / 1_000_000_000)
            .partialValue
    }
}
