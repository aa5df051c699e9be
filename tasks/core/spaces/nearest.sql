-- name: select_vector
-- The vector of one image.
SELECT embedding FROM {table} WHERE bucket = $1 AND image_id = $2

-- name: select_alike_names
-- Names of the bucket, embedded or listed, close to the one that was asked for.
SELECT image_id
FROM (
    SELECT image_id FROM {table} WHERE bucket = $1
    UNION
    SELECT objects.image_id FROM birdwalk.objects
    JOIN birdwalk.runs ON runs.run_id = objects.run_id AND runs.bucket = $1
) AS known
WHERE position(lower($2) IN lower(image_id)) > 0
ORDER BY length(image_id), image_id
LIMIT 3

-- name: nearest
-- The neighbours as a reader gets them, through the index where there is one.
SELECT bucket, image_id, embedding <-> $1 AS distance
FROM {table}
ORDER BY embedding <-> $1
LIMIT $2

-- name: nearest_exact
-- The true neighbours: the added zero keeps any index out of it.
SELECT bucket, image_id, embedding <-> $1 AS distance
FROM {table}
ORDER BY (embedding <-> $1) + 0
LIMIT $2

-- name: sample_rows
-- A repeatable sample of rows: whole random pages, then a random choice among them.
SELECT image_id, embedding
FROM {table} TABLESAMPLE SYSTEM ($1) REPEATABLE ($2)
ORDER BY hashtextextended(image_id, $2::bigint)
LIMIT $3
