internal import ServiceKit

/// How the probe names itself to servers.
package enum Product {
    package static let version = Build.version
    package static let userAgent = "qoe-probe/\(version)"
}
