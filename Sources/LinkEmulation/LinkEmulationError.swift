internal import Glibc

/// Why a namespace or a link could not be made or used.
package enum LinkEmulationError: Error, Sendable, Equatable, CustomStringConvertible {
    /// A system call failed.
    case system(call: String, errno: Int32)
    /// The kernel refused a change to a namespace's devices, addresses or routes (`rtnetlink(7)`).
    case refused(change: String, errno: Int32)
    /// The kernel's answer to a change was none.
    case unexpectedAnswer(change: String)
    /// The namespace or the link has been closed.
    case closed(name: String)
    /// A text is not what it should be, such as an address.
    case invalid(what: String, text: String)

    package var description: String {
        switch self {
        case .system(let call, let number) where number == EPERM || number == EACCES:
            "\(call): \(reason(number)); network namespaces and TUN devices need root"
        case .system(let call, let number) where number == ENOENT || number == ENODEV:
            "\(call): \(reason(number)); load the module: modprobe tun"
        case .system(let call, let number):
            "\(call): \(reason(number))"
        case .refused(let change, let number):
            "\(change) was refused: \(reason(number))"
        case .unexpectedAnswer(let change):
            "\(change): the kernel's answer is not an acknowledgement"
        case .closed(let name):
            "\(name) has been closed; make a new one"
        case .invalid(let what, let text):
            "'\(text)' is not \(what)"
        }
    }
}

private func reason(_ number: Int32) -> String {
    guard let text = unsafe strerror(number) else { return "error \(number)" }
    return unsafe String(cString: text)
}
