/// Statements to be sent in one round trip.
package struct PostgresPipeline: Sendable {
    struct Step {
        let statement: PostgresStatement
        let parameters: PostgresParameters
    }

    private(set) var steps: [Step] = []

    /// An empty pipeline.
    package init() {}

    /// Adds a statement after those already there.
    package mutating func append(
        _ statement: PostgresStatement, _ parameters: PostgresParameters = PostgresParameters()
    ) {
        steps.append(Step(statement: statement, parameters: parameters))
    }
}
