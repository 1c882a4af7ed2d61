/// The tables as they must be, from the op log alone: plain dictionaries, none of the platform's code.
struct Oracle {
    /// `client|target|minute` to its counts.
    private(set) var minutes: [String: String] = [:]
    /// `client|session` to its events.
    private(set) var sessions: [String: String] = [:]
    /// `client|session|first|last`, to how many are missing.
    private(set) var gaps: [String: String] = [:]

    private struct Minute {
        var total = 0
        var errors: [String: Int] = [:]
        var values: [String: [Int64]] = [:]
    }

    init(accepted: [Sample]) {
        var minutes: [String: Minute] = [:]
        var numbers: [String: Set<Int64>] = [:]
        for sample in accepted {
            let minute = sample.measuredAtMilliseconds / 60_000
            let key = "\(sample.client)|\(sample.target)|\(minute)"
            minutes[key, default: Minute()].total += 1
            if let stage = sample.errorStage {
                minutes[key, default: Minute()].errors[stage, default: 0] += 1
            }
            for (metric, value) in sample.thousandths {
                minutes[key, default: Minute()].values[metric, default: []].append(value)
            }
            if let numbered = sample.numbered {
                numbers["\(sample.client)|\(numbered.session)", default: []]
                    .insert(numbered.number)
            }
        }
        self.minutes = minutes.mapValues { minute in
            let failed = minute.errors.values.reduce(0, +)
            let counts = [minute.total, minute.total - failed, failed]
            let stages = Sample.stages.map { minute.errors[$0] ?? 0 }
            let metrics = Sample.metrics.map { metric in
                let values = (minute.values[metric] ?? []).map { $0 * 1000 }
                let sum = values.reduce(0, +)
                return "\(values.count)/\(sum)/\(values.min() ?? 0)/\(values.max() ?? 0)"
            }
            return ((counts + stages).map(String.init) + metrics).joined(separator: ",")
        }
        for (session, numbers) in numbers {
            sessions[session] = "\(numbers.count)"
            var next: Int64 = 1
            for number in numbers.sorted() {
                if number > next {
                    gaps["\(session)|\(next)|\(number - 1)"] = "\(number - next)"
                }
                next = number + 1
            }
        }
    }

    /// Queries with two columns of text: the keys and values above.
    static let minutesQuery: String = {
        let columns =
            ["count_total", "count_success", "count_error"]
            + Sample.stages.map { "\($0)_error_count" }
            + Sample.metrics.map { metric in
                let bounds = ["min", "max"].map { bound in
                    "coalesce(round(\(metric)_\(bound) * 1000000)::bigint, 0)"
                }
                return
                    ([
                        "\(metric)_count", "coalesce(\(metric)_sum, 0)",
                    ] + bounds).joined(separator: " || '/' || ")
            }
        return """
            SELECT client_id || '|' || target || '|'
                || (extract(epoch FROM window_start_ts)::bigint / 60),
                concat_ws(',', \(columns.joined(separator: ", ")))
            FROM agg_1m
            """
    }()

    static let sessionsQuery = """
        SELECT client_id || '|' || session_id, events::text FROM probe_sessions
        """

    static let gapsQuery = """
        SELECT concat_ws('|', client_id, session_id, first_missing_seq, last_missing_seq),
            missing_count::text
        FROM probe_gaps
        """
}

/// The first few differences between two tables, for people.
func differences(_ expected: [String: String], _ found: [String: String]) -> [String] {
    let keys = Set(expected.keys).union(found.keys).filter { expected[$0] != found[$0] }
    let lines = keys.sorted().prefix(10).map { key in
        "\(key): \(found[key] ?? "nothing") instead of \(expected[key] ?? "nothing")"
    }
    return keys.count > lines.count ? lines + ["\(keys.count) rows differ"] : lines
}
