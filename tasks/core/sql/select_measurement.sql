-- What was measured of a space's approximate index, and the state that space and index are in now.
-- Every write to a space's table is counted in its own transaction, in runs or in batches, whatever
-- became of the run: as long as the count stands, no row was written.
SELECT
    spaces.recall,
    spaces.ef_search,
    spaces.measured_at,
    spaces.measured_writes,
    spaces.measured_index,
    (
        SELECT coalesce(sum(runs.recovered + runs.reused + runs.removed + batches.written), 0)
        FROM birdwalk.runs
        CROSS JOIN LATERAL (
            SELECT count(*) + coalesce(sum(batches.images), 0) AS written
            FROM birdwalk.batches
            WHERE batches.run_id = runs.run_id
        ) AS batches
        WHERE (runs.index_name, runs.model, runs.dimension, runs.preprocessing)
            = (spaces.index_name, spaces.model, spaces.dimension, spaces.preprocessing)
    )::bigint AS writes,
    (
        SELECT max(pg_relation_filenode(pg_index.indexrelid))
        FROM pg_index
        JOIN pg_class ON pg_class.oid = pg_index.indexrelid
        JOIN pg_am ON pg_am.oid = pg_class.relam AND pg_am.amname = 'hnsw'
        WHERE pg_index.indrelid = $2::text::regclass
    )::bigint AS index
FROM birdwalk.spaces
WHERE spaces.space_id = $1
