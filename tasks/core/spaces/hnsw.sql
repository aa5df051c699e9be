-- name: select_hnsw
-- The approximate indexes of a table: their names, whether valid, and their operator class.
SELECT index_class.relname AS name, pg_index.indisvalid AS valid, opclass.opcname AS opclass
FROM pg_index
JOIN pg_class AS index_class ON index_class.oid = pg_index.indexrelid
JOIN pg_am ON pg_am.oid = index_class.relam AND pg_am.amname = 'hnsw'
JOIN pg_opclass AS opclass ON opclass.oid = pg_index.indclass[0]
WHERE pg_index.indrelid = $1::text::regclass

-- name: drop_hnsw
-- An index that is invalid, of another operator class, or in the way of a large change. Readers
-- are not kept waiting: they search exactly until it is built anew.
DROP INDEX CONCURRENTLY IF EXISTS birdwalk.{name}

-- name: create_hnsw
-- The approximate index, of the operator class that the query's <-> uses. Building at 64, the
-- default, takes half the time, and leaves whole clusters of a table where no search gets to.
CREATE INDEX {name} ON {vectors} USING hnsw (embedding vector_l2_ops) WITH (ef_construction = 128)

-- name: select_measurement
-- What was measured of a space's approximate index, and the state that space and index are in now.
SELECT
    spaces.recall,
    spaces.measured_at,
    spaces.measured_writes,
    spaces.measured_index,
    spaces.writes,
    (
        SELECT max(pg_relation_filenode(pg_index.indexrelid))
        FROM pg_index
        JOIN pg_class ON pg_class.oid = pg_index.indexrelid
        JOIN pg_am ON pg_am.oid = pg_class.relam AND pg_am.amname = 'hnsw'
        WHERE pg_index.indrelid = $2::text::regclass
    )::bigint AS index
FROM birdwalk.spaces
WHERE spaces.space_id = $1

-- name: update_measurement
-- What was measured, and of which state.
UPDATE birdwalk.spaces
SET recall = $2, ef_search = $3, measured_at = now(), measured_writes = $4, measured_index = $5
WHERE space_id = $1

-- name: vacuum_vectors
-- The planner needs to know the table it has now, and index-only scans what is visible to all. What
-- ANALYZE would find out about vectors, by sorting them, nothing asks for.
VACUUM (ANALYZE) {vectors} (content_key, embedded_at)
