/// Texts that break programs: accepted byte for byte, since they are in Normalization Form C.
let namesKept: [String] = [
    // Words that mean something elsewhere.
    "null", "undefined", "NaN", "nil", "None", "true", "false", "Infinity", "-1", "0", "00",
    "1e400", "0x0", "1,000", "1/0", "$HOME", "%00", "\\0", "\\", "\\\\", "\"", "'", "\"\"", "`",
    "--", "-h", "--help", "*", "**", "?", ".", "..", "../../etc/passwd", "/dev/null",
    "C:\\Windows", "CON", "NUL", "COM1", "file:///etc/hosts", "~", "#", "a b", " a", "a ", " ",
    "  ",
    // Injection.
    "' OR '1'='1", "'; DROP TABLE agg_1m; --", "1); DELETE FROM probes--",
    "$$;SELECT pg_sleep(9);$$", "\\'; --", "%' LIKE '%", "{{7*7}}", "${jndi:ldap://192.0.2.1/a}",
    "$(reboot)", "`reboot`", "a;reboot", "a|cat", "a&&b", "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>", "javascript:alert(1)", "&lt;b&gt;", "<!--", "]]>",
    "<?xml version=\"1.0\"?>", "<!ENTITY x SYSTEM \"file:///\">", "() { :;}; echo", "=1+1",
    "@SUM(A1)", "+1", "%s%s%s%n", "%x%x", "{0}", "%1$s", "\\u0041", "\\x41",
    "{\"client_id\":\"b\"}", "telemetry.events.>", "a.*.b", "a,b=c d=1", "__proto__",
    "constructor", "X-Header: a",
    // Scripts.
    "Å", "ångström", "naïve café", "Straße", "İstanbul", "ıI", "Ωμέγα", "Привет", "Йод",
    "Україна", "ש\u{5B8}\u{5C1}לו\u{5B9}ם", "مرحبا", "فارسی", "ह\u{93F}न\u{94D}द\u{940}",
    "ব\u{9BE}\u{982}ল\u{9BE}", "தம\u{BBF}ழ\u{BCD}", "ไทย", "ລາວ", "မ\u{103C}န\u{103A}မ\u{102C}",
    "ქართული", "Հայերեն", "አማርኛ", "ᏣᎳᎩ", "東京", "大阪府", "中文网", "中文網", "한국어", "ひらがな", "カタカナ", "ｶﾀｶﾅ",
    "Ｆｕｌｌ", "Tiếng Việt", "Ƿynn", "ꜳ", "ﬁ", "𝔘𝔫𝔦", "𐍈𐌿", "𒀀", "\u{2B0}\u{2B7}", "½ ² №", "€£¥",
    // Emoji.
    "😀", "👍\u{1F3FD}", "👨\u{200D}👩\u{200D}👧\u{200D}👦",
    "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}", "🇩🇪", "1\u{FE0F}\u{20E3}",
    "☎\u{FE0E}", "❤\u{FE0F}", "🫠", "©\u{FE0F}",
    // Marks that combine.
    "\u{301}", "\u{301}e", "q\u{323}\u{307}", "İ", "i\u{307}",
    // Characters that are another's spelling.
    "𑂫", "ΐ",
    // Hangul.
    "각\u{11A8}", "\u{1161}\u{11A8}", "\u{1100}\u{11A8}", "ㄱㅏ",
    // What one does not see.
    "a\u{200B}b", "a\u{200C}b", "a\u{200D}b", "a\u{2060}b", "a\u{AD}b", "a\u{180E}b", "\u{200B}",
    "a\u{202E}b", "\u{202A}abc\u{202C}", "\u{2066}a\u{2069}", "a\u{A0}b", "a\u{3000}b",
    "a\u{2028}b", "a\u{2029}b", "a\u{34F}b", "a\u{FEFF}b", "\u{FEFF}a", "\u{E0041}", "a\u{FE0F}",
    "\u{115F}", "\u{3164}", "a\u{61C}b",
    // At the edges of Unicode.
    "�", "\u{FFFE}", "\u{FFFF}", "\u{10FFFF}", "\u{E000}", "\u{F0000}", "\u{D7FF}",
    "𐀀", "\u{378}", "\u{1FFFE}", "߿", "ࠀ",
    // Long.
    repeated("a", 255), repeated("é", 127), repeated("東", 85), repeated("🚀", 63),
]

/// Texts that are not in Normalization Form C, and the form: goldens that another implementation made.
let namesComposed: [(posted: String, kept: String)] = [
    // Marks that combine.
    ("e\u{301}", "é"),
    ("A\u{30A}", "Å"),
    ("u\u{308}\u{301}", "ǘ"),
    ("o\u{302}\u{323}", "ộ"),
    ("o\u{323}\u{302}", "ộ"),
    ("a\u{315}\u{300}\u{5AE}\u{300}b", "à\u{5AE}\u{300}\u{315}b"),
    ("q\u{307}\u{323}", "q\u{323}\u{307}"),
    ("s\u{323}\u{307}", "ṩ"),
    ("ḋ\u{323}", "ḍ\u{307}"),
    ("Z\u{351}\u{36B}\u{343}" + zalgo, "Z\u{351}\u{36B}\u{313}" + zalgo),
    (
        "a" + repeated("\u{301}", 40),
        "á" + repeated("\u{301}", 39)
    ),
    ("\u{344}", "\u{308}\u{301}"),
    ("\u{958}", "क\u{93C}"),
    ("न\u{93C}", "ऩ"),
    ("\u{9C7}\u{9BE}", "\u{9CB}"),
    ("ஒ\u{BD7}", "ஔ"),
    ("ဥ\u{102E}", "ဦ"),
    ("\u{DD9}\u{DCF}\u{DCA}", "\u{DDD}"),
    ("ᬅ\u{1B35}", "ᬆ"),
    ("ש\u{5C1}\u{5BC}", "ש\u{5BC}\u{5C1}"),
    ("\u{FB2C}", "ש\u{5BC}\u{5C1}"),
    ("か\u{3099}", "が"),
    ("は\u{309A}", "ぱ"),
    ("ا\u{653}", "آ"),
    // Characters that are another's spelling.
    ("\u{212B}", "Å"),
    ("\u{2126}", "Ω"),
    ("\u{212A}", "K"),
    ("\u{1FEF}", "`"),
    ("\u{37E}", ";"),
    ("\u{387}", "\u{B7}"),
    ("\u{2000}a", "\u{2002}a"),
    ("\u{2001}a", "\u{2003}a"),
    ("\u{2329}x\u{232A}", "\u{3008}x\u{3009}"),
    ("\u{374}", "\u{2B9}"),
    ("\u{1F71}", "ά"),
    ("\u{1FBE}", "ι"),
    ("\u{F900}", "豈"),
    ("\u{2F800}", "丽"),
    ("\u{1D15E}", "𝅗\u{1D165}"),
    ("\u{1D1BB}", "𝆹\u{1D165}"),
    ("\u{2ADC}", "\u{2ADD}\u{338}"),
    ("\u{FB1D}", "י\u{5B4}"),
    ("\u{F73}", "\u{F71}\u{F72}"),
    ("\u{F43}", "ག\u{FB7}"),
    ("\u{11131}\u{11127}", "\u{1112E}"),
    ("\u{1D160}", "𝅘\u{1D165}\u{1D16E}"),
    // Hangul.
    ("\u{1112}\u{1161}\u{11AB}", "한"),
    ("\u{1100}\u{1161}", "가"),
    ("가\u{11A8}", "각"),
    ("한\u{1100}\u{1173}\u{11AF}", "한글"),
    // Long.
    (repeated("e\u{301}", 127), repeated("é", 127)),
    (repeated("\u{1100}\u{1161}\u{11A8}", 85), repeated("각", 85)),
    (repeated("\u{1FEF}", 255), repeated("`", 255)),
]

/// Texts that no name may be.
let namesRefused: [String] = [
    // Control characters.
    "\u{0}", "a\u{0}", "\u{0}a", "a\u{0}b", "\u{1}", "\u{8}", "a\u{9}b", "a\u{A}b",
    "a\u{D}\u{A}b", "\u{B}", "\u{C}", "\u{1B}[31mred", "\u{1F}", "\u{7F}", "a\u{7F}b", "\u{80}",
    "\u{85}", "a\u{85}b", "\u{90}", "\u{9B}31m", "\u{9F}",
    // Too long in normal form.
    "", repeated("a", 256), repeated("é", 128), repeated("東", 86), repeated("🚀", 64),
    repeated("e\u{301}", 128), repeated("ΐ", 128), repeated("\u{1D160}", 22),
    repeated("\u{1100}\u{1161}\u{11A8}", 86), "a" + repeated("\u{301}", 128),
    repeated("\u{1FEF}", 256), repeated("x", 5000),
]

/// What follows the first marks of a text that is nearly all marks.
private let zalgo =
    "\u{36A}\u{302}\u{36B}\u{33D}\u{34F}\u{334}\u{319}\u{324}\u{31E}\u{349}\u{35A}\u{32F}"
    + "\u{31E}\u{320}\u{34D}A"

private func repeated(_ text: String, _ count: Int) -> String {
    String(repeating: text, count: count)
}
