/// Copies the database out of its container, and into an empty one, over ssh.
///
/// By the tools of the server's own container, so that their version is the server's and this machine needs none.
package struct DatabaseCopy: Sendable {
    package let shell: any MachineShell
    /// Named by the init scripts of the storage tier.
    private static let database = "telemetry"
    private static let user = "postgres"
    /// As good as no end: a dump takes as long as it takes, and Ctrl-C ends it.
    private static let copyTimeout = Duration.seconds(7 * 86_400)
    /// How long a table may be locked against reading, which only dropping it does, before a dump gives up.
    private static let lockLimitMilliseconds = 60_000

    package init(shell: any MachineShell) { self.shell = shell }

    /// A database server and its machine.
    package struct Place: Sendable {
        package let service: ComposeService
        package let machine: Machine

        package init(service: ComposeService, machine: Machine) {
            self.service = service
            self.machine = machine
        }
    }

    /// What a server says of itself.
    package struct State: Sendable, Equatable {
        package let isReplica: Bool
        package let isEmpty: Bool
        /// When the rows were written that it has last, as PostgreSQL prints it; nil when there are none.
        package let flushedAt: String?
    }

    /// The servers of an inventory, those first from which a copy disturbs least.
    package static func places(_ inventory: Inventory) -> [Place] {
        inventory.machines.flatMap { machine in
            machine.composeServices.filter { $0.tier == .storage }.map {
                Place(service: $0, machine: machine)
            }
        }.sorted { $0.service.service > $1.service.service }
    }

    /// Asks a server.
    package func state(of place: Place) throws(RemoteError) -> State {
        let basics = try ask(
            "SELECT pg_is_in_recovery() || ' ' || (to_regclass('public.schema_migrations') IS NULL)",
            place)
        let words = basics.split(separator: " ")
        guard words.count == 2 else {
            throw RemoteError(.local, place.machine, "\(place.service.name) said: \(basics)")
        }
        let isEmpty = words[1] == "true"
        let flushedAt =
            isEmpty
            ? "" : try ask("SELECT max(flushed_at) FROM partition_progress", place)
        return State(
            isReplica: words[0] == "true", isEmpty: isEmpty,
            flushedAt: flushedAt.isEmpty ? nil : flushedAt)
    }

    private func ask(_ sql: String, _ place: Place) throws(RemoteError) -> String {
        let script = """
            \(container(of: place))
            docker exec -i "$c" psql --no-psqlrc --quiet --tuples-only --no-align \
            --set ON_ERROR_STOP=1 --username \(Self.user) --dbname \(Self.database)

            """
        let output = try shell.succeed(script, on: place.machine, input: .bytes(Array(sql.utf8)))
        return PrintableText.line(output.text)
    }

    /// Copies the whole database in `pg_dump`'s custom format.
    ///
    /// - Parameter onOutput: Gets the archive, piece by piece.
    package func dump(
        _ place: Place, onOutput: @escaping (ArraySlice<UInt8>) -> Void
    ) throws(RemoteError) {
        let script = """
            \(container(of: place))
            docker exec "$c" pg_dump --username \(Self.user) --format custom --encoding UTF8 \
            --lock-wait-timeout \(Self.lockLimitMilliseconds) \(Self.database) < /dev/null

            """
        let result = try shell.run(
            script, on: place.machine, input: .none, timeout: Self.copyTimeout, onOutput: onOutput)
        if result.status != 0 {
            throw RemoteError(.failed(status: result.status), place.machine, result.lastWords)
        }
    }

    /// Fills an empty database from an archive, in one transaction.
    package func restore(_ path: String, to place: Place) throws(RemoteError) {
        let script = """
            \(container(of: place))
            docker exec -i "$c" pg_restore --username \(Self.user) --dbname \(Self.database) \
            --single-transaction --exit-on-error
            docker exec "$c" psql --no-psqlrc --quiet --username \(Self.user) --dbname \(Self.database) \
            --command ANALYZE < /dev/null

            """
        try shell.succeed(
            script, on: place.machine, input: .file(path: path), timeout: Self.copyTimeout)
    }

    /// Sets `c` to the server's container.
    private func container(of place: Place) -> String {
        """
        set -e
        c=$(docker ps -q --filter label=com.docker.compose.project=\(place.service.tier.project) \
        --filter label=com.docker.compose.service=\(place.service.name))
        [ -n "$c" ] || { echo '\(place.service.name) does not run' >&2; exit 1; }
        """
    }
}
