/// What was built. The one place where the version stands.
package enum Build {
    package static let version = "0.1.0"

    /// The compiler's version, as far as the compiler tells it.
    package static var swiftVersion: String {
        #if compiler(>=6.4)
            "6.4 or newer"
        #elseif compiler(>=6.3)
            "6.3"
        #else
            "6.2"
        #endif
    }
}
