/// A SQL text with parameters, prepared once per connection when it has a name.
///
/// The parameter types are those of the first call's values; a later call with others is a
/// programming error.
package struct PostgresStatement: Sendable {
    /// The name on the server and in errors; nil is parsed anew each time.
    package let name: String?
    /// One statement, with `$1`, `$2`, … for parameters.
    package let sql: String

    /// Makes a statement; equal names must mean equal texts.
    package init(_ name: String?, _ sql: String) {
        self.name = name
        self.sql = sql
    }
}
