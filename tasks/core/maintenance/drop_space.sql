-- name: select_unfinished_runs
-- Runs of a space that left batches which are not durable: they may have paid for vectors that are
-- in their CSV parts only.
SELECT runs.run_id, runs.run_key
FROM birdwalk.runs
WHERE (runs.index_name, runs.model, runs.dimension, runs.preprocessing) = ($1, $2, $3, $4)
    AND EXISTS (
        SELECT FROM birdwalk.batches
        WHERE batches.run_id = runs.run_id AND NOT batches.durable
    )

-- name: delete_work
-- The work lists of a space's runs: nobody does that work any more.
DELETE FROM birdwalk.work
WHERE run_id IN (
    SELECT runs.run_id FROM birdwalk.runs
    WHERE (runs.index_name, runs.model, runs.dimension, runs.preprocessing) = ($1, $2, $3, $4)
)

-- name: delete_listings
-- The listings of an index that is given up.
DELETE FROM birdwalk.listings
WHERE run_id IN (SELECT runs.run_id FROM birdwalk.runs WHERE runs.index_name = $1)

-- name: delete_space
-- Forget one space; its refusals and its unused contents go with it.
DELETE FROM birdwalk.spaces WHERE space_id = $1

-- name: show_nothing
-- An index whose spaces are about to go shows none of them.
UPDATE birdwalk.indexes SET space_id = NULL WHERE index_name = $1

-- name: delete_index
-- Forget an index.
DELETE FROM birdwalk.indexes WHERE index_name = $1 RETURNING index_id

-- name: drop_table
-- A table of an index or a space that nothing refers to any more.
DROP TABLE IF EXISTS {table}
