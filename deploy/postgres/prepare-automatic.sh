#!/usr/bin/env bash
# What automatic failover needs in a server: the login repmgr, which is no superuser, and its database; at the
# witness also the table of claims. Run by the image when the data are new, before prepare-primary.sh, and by
# hand at a primary whose data are older (docs/failures/database.md). Run again, it sets the password anew.
set -euo pipefail

REPMGR_PASSWORD=$(cat "${SECRETS:-/run/secrets}/postgres_repmgr_password") \
    psql -v ON_ERROR_STOP=1 --username postgres --dbname postgres --quiet <<'SQL'
\getenv repmgr REPMGR_PASSWORD
SELECT 'CREATE ROLE repmgr' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'repmgr') \gexec
-- For the slot of the other server, as which a replica follows.
ALTER ROLE repmgr LOGIN REPLICATION PASSWORD :'repmgr';
GRANT pg_monitor, pg_checkpoint TO repmgr;
SELECT 'CREATE DATABASE repmgr' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'repmgr') \gexec
REVOKE CONNECT ON DATABASE repmgr FROM PUBLIC;
GRANT CONNECT ON DATABASE repmgr TO repmgr;
\connect repmgr
CREATE EXTENSION IF NOT EXISTS repmgr;
GRANT USAGE ON SCHEMA repmgr TO repmgr;
GRANT ALL ON ALL TABLES IN SCHEMA repmgr TO repmgr;
GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO repmgr;
SQL

[ "${SERVER_NAME:-}" = postgres-witness ] || exit 0
psql -v ON_ERROR_STOP=1 --username postgres --dbname repmgr --quiet <<'SQL'
-- Each timeline belongs to the first who takes it; a primary of a lower one stops (run.sh).
CREATE TABLE IF NOT EXISTS claim (
    timeline bigint PRIMARY KEY,
    server text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT ON claim TO repmgr;
SQL
