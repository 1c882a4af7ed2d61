#!/usr/bin/env bash
# Run once by the official image, when the primary's data is new: the logins of the programs and of the
# replica, with the passwords of the mounted secrets. The schema is made by qoectl db migrate. It is the last
# script, so what run.sh began is complete then.
set -euo pipefail

password() { # of a login: the content of its secret
    cat "${SECRETS:-/run/secrets}/postgres_$1_password"
}

# Values go by the environment and \getenv, not by the command line, where ps would show them.
QOE_PASSWORD=$(password qoe) REPLICATION_PASSWORD=$(password replication) \
    READER_PASSWORD=$(password reader) \
    psql -v ON_ERROR_STOP=1 --username postgres --dbname postgres --quiet <<'SQL'
\getenv qoe QOE_PASSWORD
\getenv replication REPLICATION_PASSWORD
\getenv reader READER_PASSWORD
CREATE ROLE qoe_owner NOLOGIN;
CREATE ROLE qoe_writer NOLOGIN;
CREATE ROLE qoe_reader NOLOGIN;
-- Aggregators, diagnosers and migrations.
CREATE ROLE qoe LOGIN PASSWORD :'qoe' IN ROLE qoe_owner, qoe_writer, pg_monitor;
CREATE ROLE reader LOGIN PASSWORD :'reader' IN ROLE qoe_reader;
CREATE ROLE replication LOGIN REPLICATION PASSWORD :'replication';
-- What pg_rewind asks of the new primary, in this database; who may copy the data may read their files.
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean),
    pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean) TO replication;
CREATE DATABASE telemetry OWNER qoe;
REVOKE CONNECT ON DATABASE telemetry FROM PUBLIC;
GRANT CONNECT ON DATABASE telemetry TO reader;
SQL
rm -f "$PGDATA.new"
