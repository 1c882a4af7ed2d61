/// Why something an operator asked for cannot be done: what is wrong, and what to do about it.
package struct OperatorError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}
