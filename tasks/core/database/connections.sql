-- name: select_is_prepared
-- Whether birdwalk's own tables are there.
SELECT to_regclass('birdwalk.spaces') IS NOT NULL

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
