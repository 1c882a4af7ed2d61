package import Postgres

/// The aggregators that live, and the partitions of a stream under a living lease.
package struct LivingInstances: Hashable, Sendable {
    package var instances: Set<String>
    /// The owner of each partition.
    package var owners: [Int: String]

    package init(instances: Set<String>, owners: [Int: String]) {
        self.instances = instances
        self.owners = owners
    }
}

extension AggregateStore {
    /// Says that an instance lives, and reads who else does.
    ///
    /// - Parameter lease: how long it is counted on without another sign of life.
    package func shareStream(
        _ stream: String, instance: String, lease: Duration
    ) throws(PostgresError) -> LivingInstances {
        var parameters = PostgresParameters()
        parameters.append(instance)
        parameters.append(lease.milliseconds)
        _ = try connection.query(Self.announce, parameters)
        var living = LivingInstances(instances: [], owners: [:])
        for var row in try connection.query(Self.readInstances, PostgresParameters()).rows {
            living.instances.insert(try row.next())
        }
        var key = PostgresParameters()
        key.append(stream)
        for var row in try connection.query(Self.readOwners, key).rows {
            let partition: Int32 = try row.next()
            living.owners[Int(partition)] = try row.next()
        }
        return living
    }

    /// Says that an instance is leaving.
    package func removeInstance(_ instance: String) throws(PostgresError) {
        var parameters = PostgresParameters()
        parameters.append(instance)
        _ = try connection.query(Self.forget, parameters)
    }

    /// Instances that went without a word are forgotten after a day.
    private static let announce = PostgresStatement(
        "announce_instance",
        """
        WITH gone AS (
            DELETE FROM aggregator_instances WHERE expires_at < now() - interval '1 day'
                AND instance_id <> $1
        )
        INSERT INTO aggregator_instances (instance_id, seen_at, expires_at)
        VALUES ($1, clock_timestamp(), clock_timestamp() + $2 * interval '1 ms')
        ON CONFLICT (instance_id) DO UPDATE SET seen_at = EXCLUDED.seen_at,
            expires_at = EXCLUDED.expires_at
        """)

    private static let readInstances = PostgresStatement(
        "read_instances",
        "SELECT instance_id FROM aggregator_instances WHERE expires_at > clock_timestamp()")

    private static let readOwners = PostgresStatement(
        "read_owners",
        """
        SELECT partition, owner_id FROM partition_progress
        WHERE stream = $1 AND owner_nonce IS NOT NULL AND owner_id IS NOT NULL
            AND lease_expires_at > clock_timestamp()
        """)

    private static let forget = PostgresStatement(
        "forget_instance", "DELETE FROM aggregator_instances WHERE instance_id = $1")
}
