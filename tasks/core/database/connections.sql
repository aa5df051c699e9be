-- name: select_version
-- Which numbered statements of schema.sql this database has seen; none where it is not birdwalk's.
SELECT
    to_regnamespace('birdwalk') IS NOT NULL AS has_schema,
    to_regclass('birdwalk.schema_version') IS NOT NULL AS has_version,
    to_regclass('birdwalk.runs') IS NOT NULL AS has_tables

-- name: select_schema_version
-- The last of the numbered statements that was applied.
SELECT coalesce(max(version), 0) FROM birdwalk.schema_version

-- name: insert_schema_version
-- Note that a numbered statement was applied.
INSERT INTO birdwalk.schema_version (version) VALUES ($1)

-- name: select_extension
-- Whether pgvector is offered and installed, its version, and the schema it is in.
SELECT
    available.default_version,
    installed.extversion AS installed_version,
    namespace.nspname AS schema
FROM pg_available_extensions AS available
LEFT JOIN pg_extension AS installed ON installed.extname = available.name
LEFT JOIN pg_namespace AS namespace ON namespace.oid = installed.extnamespace
WHERE available.name = 'vector'

-- name: create_extension
-- pgvector; on Cloud SQL this takes a member of cloudsqlsuperuser.
CREATE EXTENSION IF NOT EXISTS vector

-- name: select_oldest_transaction
-- The session of ours with the oldest open transaction: what another one waits for, most likely.
SELECT application_name, xact_start
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND xact_start IS NOT NULL AND starts_with(application_name, 'birdwalk')
ORDER BY xact_start
LIMIT 1
