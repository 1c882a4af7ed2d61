let isShort = CommandLine.arguments.contains("--short")

print("rounds: \(isShort ? 1 : 9), median of each; ratios are to the baseline of the same run\n")
for comparison in [parsingComparison(), coreComparison(), sketchComparison()] {
    comparison.report(rounds: isShort ? 1 : 9)
}
