-- name: select_shown_space
-- The space that readers of an index see.
SELECT space_id, index_name, model, dimension, preprocessing, status, ef_search
FROM birdwalk.spaces
WHERE index_name = $1 AND status = 'active'

-- name: select_is_begun
-- Whether an index has any space, published or not.
SELECT EXISTS (SELECT FROM birdwalk.spaces WHERE index_name = $1)

-- name: select_has_rows
-- Whether a space has any vector.
SELECT EXISTS (SELECT FROM {table})

-- name: activate_space
-- The space that readers see from this transaction on.
UPDATE birdwalk.spaces SET status = 'active', published_at = now() WHERE space_id = $1

-- name: count_part
-- Rows of one part of a bucket.
SELECT count(*) FROM {table} AS stored
WHERE stored.bucket = $1 AND starts_with(stored.image_id, $2)

-- name: count_rows
-- Rows of a space, all buckets.
SELECT count(*) FROM {table}

-- name: create_space_table
-- The vectors of one space. STORAGE MAIN keeps them out of TOAST: exact scans are 2.7 times faster.
-- The key carries what a sync compares, so that comparing does not read the vectors.
CREATE TABLE IF NOT EXISTS {table} (
    bucket text NOT NULL,
    image_id text COLLATE "C" NOT NULL,
    content text GENERATED ALWAYS AS ('gs://' || bucket || '/' || image_id) STORED,
    embedding vector({dimension}) STORAGE MAIN NOT NULL,
    generation bigint NOT NULL,
    content_hash text,
    embedded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT {unit_length} CHECK (abs(vector_norm(embedding) - 1) <= 0.001),
    PRIMARY KEY (bucket, image_id) INCLUDE (generation, content_hash)
)

-- name: delete_space
-- Forget one space; its refusals go with it.
DELETE FROM birdwalk.spaces WHERE space_id = $1

-- name: delete_spaces
-- Forget an index's spaces; their refusals go with them.
DELETE FROM birdwalk.spaces
WHERE index_name = $1
RETURNING space_id, index_name, model, dimension, preprocessing, status, ef_search

-- name: drop_space_table
-- The vectors of a space that nothing refers to any more.
DROP TABLE IF EXISTS {table}

-- name: insert_space
-- Register a space; a failed one is tried again under its old number.
INSERT INTO birdwalk.spaces (index_name, model, dimension, preprocessing)
VALUES ($1, $2, $3, $4)
ON CONFLICT (index_name, model, dimension, preprocessing) DO UPDATE
SET status = CASE spaces.status WHEN 'failed' THEN 'loading' ELSE spaces.status END
RETURNING space_id, index_name, model, dimension, preprocessing, status, ef_search

-- name: retire_active_space
-- Make room for the space that is published next; its table stays, for a way back.
UPDATE birdwalk.spaces SET status = 'retired'
WHERE index_name = $1 AND status = 'active' AND space_id <> $2

-- name: select_active_space
-- The space that an index shows, where it is another one.
SELECT space_id, index_name, model, dimension, preprocessing, status, ef_search
FROM birdwalk.spaces
WHERE index_name = $1 AND status = 'active' AND space_id <> $2

-- name: select_published
-- The indexes that readers see, with the images that each was last found to hold.
SELECT index_name, rows
FROM birdwalk.spaces
WHERE status = 'active'
ORDER BY index_name

-- name: select_space
-- The space of an index with this model, dimension and preprocessing.
SELECT space_id, index_name, model, dimension, preprocessing, status, ef_search
FROM birdwalk.spaces
WHERE index_name = $1 AND model = $2 AND dimension = $3 AND preprocessing = $4

-- name: select_spaces
-- The spaces of an index, the newest first.
SELECT space_id, index_name, model, dimension, preprocessing, status, ef_search, rows, recall,
    published_at
FROM birdwalk.spaces
WHERE index_name = $1
ORDER BY space_id DESC

-- name: set_parallel_workers
-- Postgres counts heap pages to choose workers; wide rows would get none.
ALTER TABLE {table} SET (parallel_workers = 4)

-- name: update_space_measured
-- What the gate measured, and of which state.
UPDATE birdwalk.spaces
SET recall = $2, ef_search = $3, measured_at = now(), measured_writes = $4, measured_index = $5
WHERE space_id = $1

-- name: update_space_verified
-- What the gate found.
UPDATE birdwalk.spaces
SET rows = $2, recall = $3, verified_at = now(),
    status = CASE WHEN $4 OR status = 'active' OR status = 'retired' THEN status ELSE 'failed' END
WHERE space_id = $1
