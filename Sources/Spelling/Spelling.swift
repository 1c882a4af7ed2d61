/// Finds the name that was probably meant.
package enum Spelling {
    /// The known name nearest to `word`, if it is near enough to be a misspelling.
    package static func nearest(to word: String, in names: some Sequence<String>) -> String? {
        let typed = Array(word.prefix(longestWord).utf8)
        var best: (name: String, distance: Int)?
        for name in names {
            let distance = distance(typed, Array(name.utf8))
            if distance < best?.distance ?? Int.max { best = (name, distance) }
        }
        // Up to a third of the letters may differ: enough for a slip, too little for another word.
        guard let best, best.distance <= max(1, min(typed.count, best.name.utf8.count) / 3)
        else { return nil }
        return best.name
    }

    private static let longestWord = 64

    /// Edits (insert, delete, replace, swap neighbours) between two words; Damerau-Levenshtein,
    /// optimal string alignment.
    private static func distance(_ first: [UInt8], _ second: [UInt8]) -> Int {
        var beforeLast = [Int](repeating: 0, count: second.count + 1)
        var last = Array(0...second.count)
        for row in first.indices {
            var current = [row + 1] + [Int](repeating: 0, count: second.count)
            for column in second.indices {
                let isSame = first[row] == second[column]
                var cost = min(
                    last[column + 1] + 1, current[column] + 1, last[column] + (isSame ? 0 : 1))
                if row > 0, column > 0, first[row] == second[column - 1],
                    first[row - 1] == second[column]
                {
                    cost = min(cost, beforeLast[column - 1] + 1)
                }
                current[column + 1] = cost
            }
            (beforeLast, last) = (last, current)
        }
        return last[second.count]
    }
}
