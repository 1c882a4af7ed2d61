internal import CZlib

/// Inflates one body in the gzip format (RFC 1952), part by part.
package enum GzipVersion {
    package static var zlib: String { unsafe String(cString: zlibVersion()) }
}
