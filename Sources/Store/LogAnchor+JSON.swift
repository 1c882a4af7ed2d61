internal import FoundationEssentials
internal import Postgres
internal import Windowing

extension [LogAnchor] {
    /// The form of `partition_progress.anchors`.
    var json: PostgresJSON {
        // Encoding whole numbers cannot fail.
        let bytes = (try? JSONEncoder().encode(self)) ?? Data("[]".utf8)
        return PostgresJSON(String(decoding: bytes, as: UTF8.self))
    }

    init(json: PostgresJSON) throws(PostgresError) {
        do {
            self = try JSONDecoder().decode([LogAnchor].self, from: Data(json.text.utf8))
        } catch {
            throw PostgresError(
                .unexpectedResult, "partition_progress.anchors is not a list of anchors")
        }
    }
}
