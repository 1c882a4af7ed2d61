internal import FoundationEssentials

/// The configuration of the streams, as a NATS node's monitoring page has it (`/jsz?config=true`).
package struct StreamList: Sendable, Equatable {
    /// What of a stream must be the same after a restore.
    package struct Stream: Sendable, Equatable, Codable {
        package let name: String
        /// Their number is the count of partitions.
        package let subjects: [String]
        package let replicas: Int
        package let maxBytes: Int64
        /// Seconds; 0 is for ever.
        package let maxAgeSeconds: Int64

        package init(
            name: String, subjects: [String], replicas: Int, maxBytes: Int64, maxAgeSeconds: Int64
        ) {
            self.name = name
            self.subjects = subjects
            self.replicas = replicas
            self.maxBytes = maxBytes
            self.maxAgeSeconds = maxAgeSeconds
        }
    }

    /// By their names.
    package let streams: [Stream]

    package init(_ streams: [Stream]) { self.streams = streams.sorted { $0.name < $1.name } }

    /// Reads the page.
    ///
    /// - Throws: ``MaterialError`` when it is none.
    package init(page: [UInt8]) throws(MaterialError) {
        struct Page: Decodable {
            struct Account: Decodable {
                let stream_detail: [Detail]?
            }
            struct Detail: Decodable {
                let config: Configuration?
            }
            struct Configuration: Decodable {
                let name: String
                let subjects: [String]?
                let num_replicas: Int
                let max_bytes: Int64
                let max_age: Int64
            }
            let account_details: [Account]?
        }
        guard let page = try? JSONDecoder().decode(Page.self, from: Data(page)) else {
            throw MaterialError(problems: ["the NATS node's list of streams cannot be read"])
        }
        let found = (page.account_details ?? []).flatMap { $0.stream_detail ?? [] }
            .compactMap(\.config)
        self.init(
            found.map {
                Stream(
                    name: $0.name, subjects: $0.subjects ?? [], replicas: $0.num_replicas,
                    maxBytes: $0.max_bytes, maxAgeSeconds: $0.max_age / 1_000_000_000)
            })
    }

    /// What ``json`` has made.
    ///
    /// - Throws: ``MaterialError`` when the bytes are something else.
    package init(json: [UInt8]) throws(MaterialError) {
        guard let streams = try? JSONDecoder().decode([Stream].self, from: Data(json)) else {
            throw MaterialError(problems: ["\(BackupManifest.streamsFile) cannot be read"])
        }
        self.init(streams)
    }

    package var json: [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        // Of strings and integers alone, which can always be written.
        return (try? encoder.encode(streams)).map { Array($0) } ?? []
    }

    /// What of these streams is otherwise in `now`; a line each. Copies may differ: they follow the nodes.
    package func differences(_ now: StreamList) -> [String] {
        streams.compactMap { stream in
            guard let other = now.streams.first(where: { $0.name == stream.name }) else {
                return "\(stream.name) is not there"
            }
            var lines: [String] = []
            func compare<Value: Equatable>(_ name: String, _ old: Value, _ new: Value) {
                if old != new { lines.append("\(name) \(new) instead of \(old)") }
            }
            compare("subjects", stream.subjects.count, other.subjects.count)
            compare("max_bytes", stream.maxBytes, other.maxBytes)
            compare("max_age", "\(stream.maxAgeSeconds) s", "\(other.maxAgeSeconds) s")
            return lines.isEmpty ? nil : "\(stream.name) has \(lines.joined(separator: ", "))"
        }
    }

    /// Asks the nodes, one after the other, until one answers.
    ///
    /// - Throws: ``RemoteError`` of the last one.
    package static func page(
        _ inventory: Inventory, _ shell: any MachineShell
    ) throws(RemoteError) -> [UInt8]? {
        var failure: RemoteError?
        for machine in inventory.machines {
            guard let node = machine.composeServices.first(where: { $0.tier == .natsCluster })
            else { continue }
            let script = """
                set -e
                c=$(docker ps -q --filter label=com.docker.compose.project=\(node.tier.project) \
                --filter label=com.docker.compose.service=\(node.name))
                [ -n "$c" ] || { echo '\(node.name) does not run' >&2; exit 1; }
                docker exec "$c" sh -c 'a=$NATS_BIND_ADDRESS; [ "$a" != 0.0.0.0 ] || a=127.0.0.1
                wget -q -T 10 -O - "http://$a:8222/jsz?accounts=true&streams=true&config=true"' < /dev/null

                """
            do throws(RemoteError) {
                return try shell.succeed(script, on: machine).output
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return nil
    }
}
