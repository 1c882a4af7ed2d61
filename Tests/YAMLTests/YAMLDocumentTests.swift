import TestKit
import Testing
import YAML

@Suite struct YAMLDocumentTests {
    private func problem(_ text: String) -> YAMLProblem? {
        #expect(throws: YAMLProblem.self) { try YAMLDocument.read(text) }
    }

    @Test func `scalars, sequences and mappings keep their order and lines`() throws {
        let text = "# a comment\na: 1\n'b': \"two\\twords\"\nc:\n- x\n- 'y'\n"
        let root = try #require(try YAMLDocument.read(text))
        guard case .mapping(let pairs) = root.content else {
            Issue.record("not a mapping")
            return
        }
        #expect(pairs.map(\.key.text) == ["a", "b", "c"])
        #expect(pairs.map(\.key.line) == [2, 3, 4])
        #expect(pairs[0].value.content == .scalar("1", isPlain: true))
        #expect(pairs[1].value.content == .scalar("two\twords", isPlain: false))
        guard case .sequence(let elements) = pairs[2].value.content else {
            Issue.record("not a sequence")
            return
        }
        #expect(elements.map(\.text) == ["x", "y"])
        #expect(elements.map(\.line) == [5, 6])
    }

    @Test(arguments: ["", "# only words\n", "---\n", "\n\n"])
    func `nothing is no value`(text: String) throws {
        #expect(try YAMLDocument.read(text)?.isNull ?? true)
    }

    @Test func `null is only what stands without quotes`() throws {
        for text in ["~", "null", "NULL"] { #expect(try YAMLDocument.read(text)?.isNull == true) }
        for text in ["'~'", "\"null\"", "nul"] {
            #expect(try YAMLDocument.read(text)?.isNull == false)
        }
    }

    @Test func `mistakes have their place`() {
        #expect(problem("a: 1\nb: [1\n")?.line == 3)
        #expect(problem("a: 1\n\tb: 2\n")?.line == 2)
        #expect(problem("a: 'x\n")?.column != nil)
        #expect(problem("a: \u{0}\n")?.line == nil)
        #expect(problem("a: 1\n---\nb: 2\n")?.line == 2)
        #expect(problem("a: &x 1\nb: *x\n")?.line == 2)
    }

    @Test func `depth has a bound`() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(try YAMLDocument.read(nested(YAMLDocument.depthMax)) != nil)
        #expect(problem(nested(YAMLDocument.depthMax + 1))?.message.contains("nested") == true)
        #expect(problem(nested(100_000)) != nil)
    }

    @Test func `no text traps or hangs`() {
        let pieces = [
            "a", ": ", "\n", "- ", "[", "]", "{", "}", "'", "\"", "|", ">", "&x", "*x", "!t", "#",
            "  ", "\t", "---", "...", "%YAML 1.1", "?", ",", "\u{FEFF}", "ä", "\\u12",
        ]
        let seed = UInt64.random(in: 0...(.max))
        var random = SeededGenerator(seed: seed)
        for _ in 0..<20_000 {
            let count = Int.random(in: 0...24, using: &random)
            let text = (0..<count).map { _ in
                pieces[Int.random(in: 0..<pieces.count, using: &random)]
            }
            .joined()
            _ = try? YAMLDocument.read(text)
        }
        #expect(seed == seed, "seed \(seed)")
    }
}
