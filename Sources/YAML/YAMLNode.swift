/// A value of a YAML document (YAML 1.1, as libyaml reads it), and the line on which it begins.
///
/// Only what configuration needs: tags are ignored, and aliases are refused.
package struct YAMLNode: Sendable, Equatable {
    package indirect enum Content: Sendable, Equatable {
        /// Text; plain when it stands without quotes and not as a block.
        case scalar(String, isPlain: Bool)
        case sequence([YAMLNode])
        /// The pairs in their order, repeated keys included.
        case mapping([Pair])
    }

    package struct Pair: Sendable, Equatable {
        package let key: YAMLNode
        package let value: YAMLNode
    }

    package let content: Content
    /// Counted from 1.
    package let line: Int

    /// The text of a scalar; nil for everything else.
    package var text: String? {
        guard case .scalar(let text, _) = content else { return nil }
        return text
    }

    /// Whether it stands for no value: nothing, `~` or `null` without quotes.
    package var isNull: Bool {
        guard case .scalar(let text, isPlain: true) = content else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(text)
    }
}

/// Why a text is not a YAML document that can be used.
package struct YAMLProblem: Error, Sendable, Equatable {
    /// A clause for people.
    package let message: String
    /// Counted from 1; nil when the text has no lines that could be told, as with a wrong encoding.
    package let line: Int?
    /// Counted from 1.
    package let column: Int?
}
