import Testing

/// What becomes of a JSON text.
enum Verdict: Equatable {
    case accepted
    /// The text is not JSON, or JSON of a form that nobody should send: the body is refused as a whole.
    case refused
}

/// A JSON value in a member that nobody knows: grammar alone decides.
struct JSONVector: Sendable, CustomTestStringConvertible {
    let value: [UInt8]
    let testDescription: String

    init(_ text: String) {
        value = Array(text.utf8)
        testDescription = String(text.prefix(60))
    }

    init(bytes: [UInt8]) {
        value = bytes
        testDescription = bytes.map { String($0, radix: 16) }.joined(separator: " ")
    }
}

private func nested(_ opening: String, _ closing: String, _ depth: Int) -> String {
    String(repeating: opening, count: depth) + String(repeating: closing, count: depth)
}

/// Values that RFC 8259 allows.
let goodValues: [JSONVector] =
    ([
        // Words.
        "null", "true", "false", " null", "null ", "\tnull\t", "\nnull\n", "\r\nnull\r\n",
        // Numbers.
        "0", "-0", "0.0", "-0.0", "1", "-1", "10", "123456789", "0.5", "-0.5", "1.0", "1.50",
        "1e0", "1E0", "1e+0", "1e-0", "1E+10", "1e-10", "0e0", "0e99", "0E-99", "-0e1", "1e01",
        "1e007", "12.34e56", "1e308", "-1e308", "5e-324", "2.2250738585072014e-308",
        "9007199254740991", "9007199254740992", "9007199254740993", "18446744073709551616",
        "0.30000000000000004", "123.456e-3", "1.7976931348623157e308", "20e1",
        // Texts.
        #""""#, #"" ""#, #""a""#, #""\"""#, #""\\""#, #""\/""#, #""/""#, #""\b\f\n\r\t""#,
        #""\u0041""#, #""\u00e9""#, #""\u00E9""#, #""\u20ac""#, #""\ud83d\ude80""#,
        #""\uD83D\uDE80""#, #""\uDBFF\uDFFF""#, #""\ud800\udc00""#, #""\uffff""#, #""\ufffe""#,
        #""\ufeff""#, #""\u0000""#, #""\u001f""#, #""\u007f""#, #""\u2028\u2029""#, #""\\u0041""#,
        #""\\\"""#, #""\\\\""#, #""\\\\\"""#, "\"é\"", "\"東京\"", "\"\u{1F680}\"",
        "\"\u{10FFFF}\"", "\"\u{FEFF}\"", "\"\u{2028}\u{2029}\"", "\"\u{7F}\"", "\"\u{80}\"",
        "\"\u{FFFD}\"", "\"\u{E000}\"", #""{}[],:""#, #""null""#, #""'""#,
        #""//""#, #""/* a */""#, "\"#\"", #""a\u0062c""#, #""\u0022""#, #""\u005c""#,
        // Arrays.
        "[]", "[ ]", "[\n]", "[1]", "[1,2]", "[ 1 , 2 ]", "[null]", "[[]]", "[[],[]]", "[[[1]]]",
        #"[""]"#, #"["a","b"]"#, "[true,false,null]", "[1,[2,[3]]]", "[{}]", "[{},{}]",
        #"[{"a":1},[2]]"#, nested("[", "]", 15), "[0,-0,1e1]",
        // Objects.
        "{}", "{ }", #"{"":0}"#, #"{"":""}"#, #"{"a":1}"#, #"{ "a" : 1 }"#, "{\n\"a\"\n:\n1\n}",
        #"{"a":1,"b":2}"#, #"{"a":{"b":{"c":1}}}"#, #"{"a":[]}"#, #"{"a":1,"a":2}"#,
        #"{"a":1,"\u0061":2}"#, #"{"\u0000":1}"#, #"{"é":1,"\u00e9":2}"#, #"{"a b":1}"#,
        #"{"__proto__":1}"#, #"{"constructor":{"prototype":1}}"#, #"{"client_id":7}"#,
        #"{"timing_measurements":{"dns_ms":-1}}"#, nested(#"{"a":"#, "}", 14).replacing1("}"),
        // Long ones.
        "\"" + String(repeating: "a", count: 30_000) + "\"",
        "[" + String(repeating: "0,", count: 10_000) + "0]", String(repeating: "9", count: 5_000),
        "0." + String(repeating: "0", count: 5_000) + "1",
        "1e" + String(repeating: "0", count: 999),
        String(repeating: " ", count: 9_000) + "1",
    ] as [String]).map { JSONVector($0) }

extension String {
    /// With a value before the first `closing`.
    fileprivate func replacing1(_ closing: Character) -> String {
        guard let index = firstIndex(of: closing) else { return self }
        return self[..<index] + "1" + self[index...]
    }
}

/// Values that RFC 8259 does not allow.
let badValues: [JSONVector] =
    ([
        // Nothing, and words that are none.
        "", " ", "nul", "nulll", "Null", "NULL", "tru", "truee", "True", "fals", "False", "nil",
        "undefined", "NaN", "-NaN", "nan", "Infinity", "-Infinity", "inf", "None", "yes", "a", "@",
        "null null", "true,false", "nullx", "null\u{0}",
        // Numbers.
        "+1", "+0", "-", "--1", "-+1", "-a", "01", "-01", "00", "-00", "007", "1.", "-1.", ".5",
        "-.5", "1.e1", ".e1", "1..2", "1.2.3", "1e", "1E", "1e+", "1e-", "1e+-1", "1e1.5", "1ee1",
        "1e 1", "1 e1", "- 1", "1 2", "0x10", "0b1", "0o7", "1_000", "1,5", "1a", "1d", "1f", "1L",
        "1.0f", "0e", "0e+", "0.e1", "1\u{0}", "\u{FF11}", "\u{0661}", "\u{2212}1", "\u{221E}",
        "1/2", "1%", "$1", "1e\u{0661}", "0.1.", "9.e+", "2.e3", "2.e-3", "-2.",
        // Texts.
        "\"", "\"a", "a\"", "'a'", "`a`", "\u{201C}a\u{201D}", #""\a""#, #""\q""#, #""\'""#,
        #""\0""#, #""\x41""#, #""\U0041""#, #""\u""#, #""\u0""#, #""\u00""#, #""\u004""#,
        #""\u00G0""#, #""\u 041""#, #""\u+041""#, #""\u-041""#, #""\u{41}""#, #""\"#, #""\""#,
        #""\\\""#, "\"\\\u{E9}\"", "\"\\\u{1F680}\"", "\"\\ \"", "\"a\nb\"", "\"a\rb\"", "\"a\tb\"",
        "\"a\u{0}b\"", "\"a\u{1}b\"", "\"a\u{1F}b\"", "\"\u{8}\"", "\"\u{C}\"", "\"\u{1B}[31m\"",
        #""a" "b""#, #""a"b"#, #""a""b""#, #""\ud83d\u""#, #""\ud83d\ude""#, #""\ud83d\u12G4""#,
        #""a"x"#, "\"\\\n\"",
        // Arrays.
        "[", "]", "[[]", "[]]", "[,]", "[1,]", "[,1]", "[1,,2]", "[1 2]", "[1;2]", "[1:2]", "[:]",
        "[1", "[1,", "[\"a", "[\"a\"", "[\"a\",", "[\"a\":1]", "[a]", "[1]x", "[-]", "[}", "[1}",
        "[[1]", "[1,[2]", "(1)", "<1>", "[...]", "[1,\n1\n,1", "[\u{B}1]", "[1,\u{C}2]",
        "[\u{A0}1]", "[\u{2060}]", "[\u{FEFF}]", "[\u{0}]", "[#]", "[*]", "[/**/]", "[// a\n]",
        nested("[", "]", 16), nested("[", "]", 100_000), String(repeating: "[", count: 20_000),
        // Objects.
        "{", "{,}", #"{"a"}"#, #"{"a":}"#, #"{"a" 1}"#, #"{"a"::1}"#, #"{"a":1,}"#, #"{,"a":1}"#,
        #"{"a":1,,"b":2}"#, #"{"a":1 "b":2}"#, #"{"a":1;"b":2}"#, #"{"a"=1}"#, #"{"a"=>1}"#,
        "{a:1}", "{'a':1}", "{1:1}", "{null:1}", "{true:1}", "{[]:1}", "{{}:1}", "{-1:1}",
        #"{"a":1"#, #"{"a":1]"#, #"{"a":{}"#, #"{"a":1}x"#, #"{"a":1/**/}"#, #"{"a":1//"#,
        #"{"a":"b":"c"}"#, #"{"a":1:2}"#, #"{"\u00":1}"#, #"{"\x":1}"#, "{\"a\n\":1}",
        #"{"a",1}"#, #"{:1}"#, #"{"a":a}"#, "{\u{FEFF}\"a\":1}",
        nested(#"{"a":"#, "}", 20), String(repeating: #"{"a":"#, count: 20_000),
        // White space that is none.
        "\u{B}1", "1\u{C}", "\u{A0}1", "\u{85}1", "\u{2028}1", "\u{3000}1", "\u{FEFF}1",
        "\u{200B}1", "1\u{180E}",
    ] as [String]).map { JSONVector($0) }

/// Bytes within a text that are not UTF-8.
let badBytes: [JSONVector] =
    ([
        [0x80], [0xBF], [0xC0], [0xC1], [0xC2], [0xC3], [0xE0], [0xF0], [0xF5], [0xF8], [0xFC],
        [0xFE], [0xFF], [0xC0, 0x80], [0xC0, 0xAF], [0xC1, 0xBF], [0xC3, 0x28], [0xE0, 0x80, 0x80],
        [0xE0, 0x9F, 0xBF], [0xE2, 0x82], [0xE2, 0x28, 0xA1], [0xE2, 0x82, 0x28],
        [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF], [0xED, 0xA0, 0xBD, 0xED, 0xBA, 0x80],
        [0xF0, 0x80, 0x80, 0x80], [0xF0, 0x8F, 0xBF, 0xBF], [0xF0, 0x28, 0x8C, 0xBC],
        [0xF0, 0x9F, 0x98], [0xF4, 0x90, 0x80, 0x80], [0xF7, 0xBF, 0xBF, 0xBF],
        [0xF8, 0x88, 0x80, 0x80, 0x80], [0xFC, 0x84, 0x80, 0x80, 0x80, 0x80],
    ] as [[UInt8]]).map { JSONVector(bytes: [0x22] + $0 + [0x22]) }

/// What RFC 8259 leaves to implementations, and what this one does in a member that nobody knows.
let optionalValues: [(JSONVector, Verdict)] =
    ([
        // A number beyond double is ignored with its member.
        ("1e309", .accepted), ("-1e309", .accepted), ("1e99999999999999999999", .accepted),
        ("1e-99999999999999999999", .accepted), ("0e99999999999999999999", .accepted),
        ("0." + String(repeating: "1", count: 40), .accepted),
        // Half a surrogate pair is a text of the grammar, and nobody keeps it.
        (#""\ud83d""#, .accepted), (#""\ude80""#, .accepted), (#""\ude80\ud83d""#, .accepted),
        (#""\ud83dx""#, .accepted), (#""\ud83d\ud83d\ude80""#, .accepted),
        (#""\ud83d\n""#, .accepted),
        // Keys that come twice decide nothing when nobody knows them.
        (#"{"a":1,"a":1}"#, .accepted), (#"{"":1,"":2}"#, .accepted),
        // Depth has a bound: the event itself and 15 more.
        (nested("[", "]", 15), .accepted), (nested("[", "]", 16), .refused),
        (nested("[", "]", 500), .refused),
    ] as [(String, Verdict)]).map { (JSONVector($0.0), $0.1) }
