-- name: insert_index
-- Register an index where it is new.
INSERT INTO birdwalk.indexes (index_name) VALUES ($1)
ON CONFLICT (index_name) DO NOTHING

-- name: insert_space
-- Register a space of an index where it is new.
INSERT INTO birdwalk.spaces (index_id, model, dimension, preprocessing)
SELECT index_id, $2, $3, $4 FROM birdwalk.indexes WHERE index_name = $1
ON CONFLICT (index_id, model, dimension, preprocessing) DO NOTHING

-- name: select_spaces
-- The spaces of an index, the newest first; the one that readers see is active.
SELECT
    spaces.space_id,
    spaces.index_id,
    indexes.index_name,
    spaces.model,
    spaces.dimension,
    spaces.preprocessing,
    spaces.ef_search,
    spaces.recall,
    spaces.published_at,
    CASE
        WHEN spaces.space_id = indexes.space_id THEN 'active'
        WHEN spaces.published_at IS NOT NULL THEN 'retired'
        ELSE 'loading'
    END AS status
FROM birdwalk.spaces
JOIN birdwalk.indexes USING (index_id)
WHERE indexes.index_name = $1
ORDER BY spaces.space_id DESC

-- name: select_like_spaces
-- The spaces of other indexes that have the model, dimension and preprocessing of a space.
SELECT other.space_id
FROM birdwalk.spaces
JOIN birdwalk.spaces AS other USING (model, dimension, preprocessing)
WHERE spaces.space_id = $1 AND other.space_id <> $1
ORDER BY other.space_id

-- name: select_is_made
-- Whether a table is there.
SELECT to_regclass($1) IS NOT NULL

-- name: create_images_table
-- The images of an index, as readers see them. The key carries what a sync compares, so that
-- comparing reads no row.
CREATE TABLE {images} (
    bucket text NOT NULL,
    image_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    content_key text COLLATE "C" NOT NULL,
    size bigint,
    content_type text,
    content_encoding text,
    updated timestamptz,
    metadata jsonb,
    PRIMARY KEY (bucket, image_id) INCLUDE (generation, content_key)
)

-- name: create_images_content_key
-- From a content to the images that have it: how a search gets from vectors to names.
CREATE INDEX {name} ON {images} (content_key) INCLUDE (bucket, image_id)

-- name: create_vectors_table
-- The vectors of one space, one a content. STORAGE MAIN keeps them out of TOAST: exact scans are
-- 2.7 times faster.
CREATE TABLE {vectors} (
    content_key text COLLATE "C" PRIMARY KEY,
    embedding vector({dimension}) STORAGE MAIN NOT NULL,
    embedded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT {unit_length} CHECK (abs(vector_norm(embedding) - 1) <= 0.001)
)

-- name: set_parallel_workers
-- Postgres counts heap pages to choose workers; wide rows would get none.
ALTER TABLE {vectors} SET (parallel_workers = 4)

-- name: count_rows
-- Vectors of a space, those that no image has any more with the others.
SELECT count(*) FROM {vectors}

-- name: count_images
-- Images of one part of a bucket that readers see.
SELECT count(*)
FROM {images} AS images
JOIN {vectors} AS vectors USING (content_key)
WHERE images.bucket = $1 AND starts_with(images.image_id, $2)

-- name: count_shown
-- Images that readers see.
SELECT count(*) FROM {images} AS images JOIN {vectors} AS vectors USING (content_key)

-- name: select_has_images
-- Whether readers see any image.
SELECT EXISTS (SELECT FROM {images} AS images JOIN {vectors} AS vectors USING (content_key))

-- name: count_writes
-- A transaction wrote vectors, or removed some: what was measured before holds no more.
UPDATE birdwalk.spaces SET writes = writes + 1 WHERE space_id = $1
