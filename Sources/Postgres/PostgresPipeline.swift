/// Statements to be sent in one round trip.
package struct PostgresPipeline: Sendable {
    struct Step {
        let statement: PostgresStatement
        /// Made when the statement is sent, and not kept.
        let makeParameters: @Sendable () -> PostgresParameters
    }

    private(set) var steps: [Step] = []

    /// An empty pipeline.
    package init() {}

    /// Adds a statement after those already there.
    package mutating func append(
        _ statement: PostgresStatement, _ parameters: PostgresParameters = PostgresParameters()
    ) {
        steps.append(Step(statement: statement) { parameters })
    }

    /// Adds a statement after those already there, whose parameters are made when it is its turn: of many
    /// large statements only one is in memory at a time.
    package mutating func append(
        _ statement: PostgresStatement,
        making parameters: @escaping @Sendable () -> PostgresParameters
    ) {
        steps.append(Step(statement: statement, makeParameters: parameters))
    }

    /// Adds the statements of another pipeline after those already there.
    mutating func append(_ other: PostgresPipeline) {
        steps += other.steps
    }
}
