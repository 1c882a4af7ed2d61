internal import FoundationEssentials
package import ServiceKit
internal import Transport

/// What `probe check` prints, and how it ends.
///
/// A pure function of the findings.
package struct CheckReport: Sendable {
    package let findings: [CheckFinding]

    package init(_ findings: [CheckFinding]) {
        self.findings = findings
    }

    /// Success unless something failed; a configuration that the probe would refuse has its own code.
    package var exitCode: ExitCode {
        let failed = findings.filter { $0.result == .failed }
        if failed.contains(where: { $0.name == ConfigurationCheck.name }) { return .configuration }
        return failed.isEmpty ? .success : .failure
    }

    /// One finding as a line for people, and one more for what to do about it; both end with a line feed.
    package static func text(of finding: CheckFinding) -> String {
        let word = finding.result == .failed ? "FAILED" : finding.result.rawValue
        let subject = finding.subject.map { "\($0): " } ?? ""
        var text =
            padded(word, resultColumns) + padded(finding.name, nameColumns)
            + LineEscaping.escaped(subject + finding.found) + "\n"
        if let advice = finding.advice {
            let margin = String(repeating: " ", count: resultColumns + nameColumns)
            text += margin + "-> " + LineEscaping.escaped(advice) + "\n"
        }
        return text
    }

    /// The last line: how many findings there are of each kind.
    package var summary: String {
        func count(_ result: CheckFinding.Result) -> Int {
            findings.count { $0.result == result }
        }
        return "\(findings.count) checks: \(count(.ok)) ok, \(count(.warning)) with a warning,"
            + " \(count(.failed)) failed, \(count(.skipped)) skipped\n"
    }

    /// One JSON object and a line feed.
    package var json: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let whole = Whole(
            result: exitCode == .success ? "ok" : "failed", version: Product.version,
            checks: findings.map { Check($0) })
        guard let data = try? encoder.encode(whole) else {
            preconditionFailure("texts and finite numbers can be encoded")
        }
        return String(decoding: data, as: UTF8.self) + "\n"
    }

    private struct Whole: Encodable {
        let result: String
        let version: String
        let checks: [Check]
    }

    private struct Check: Encodable {
        let name: String
        let subject: String?
        let result: String
        let found: String
        let advice: String?
        let duration_ms: Double

        init(_ finding: CheckFinding) {
            name = finding.name
            subject = finding.subject
            result = finding.result.rawValue
            found = finding.found
            advice = finding.advice
            duration_ms = finding.duration.inMilliseconds
        }
    }

    private static let resultColumns = 9
    private static let nameColumns = 15

    private static func padded(_ text: String, _ columns: Int) -> String {
        text + String(repeating: " ", count: max(1, columns - text.count))
    }
}
