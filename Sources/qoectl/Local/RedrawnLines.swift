import Foundation

/// Lines at the end of a terminal's text that are drawn again in place.
struct RedrawnLines {
    private var shown = 0

    /// Replaces what was shown before.
    ///
    /// Lines are cut at the terminal's edge and rows beyond its height are left out: what wraps or has
    /// scrolled away could not be replaced.
    mutating func show(_ lines: [String]) {
        var size = winsize()
        let isKnown = ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
        let width = isKnown ? Int(size.ws_col) : 80
        let height = isKnown ? Int(size.ws_row) : 24
        let fitting = lines.prefix(max(1, height - 2)).map { $0.prefix(width - 1) }
        // Up to the first line drawn before, and clear from there to the end (ECMA-48).
        var text = shown > 0 ? "\u{1B}[\(shown)A\u{1B}[J" : ""
        for line in fitting { text += line + "\n" }
        say(text, terminator: "")
        shown = fitting.count
    }
}
