-- name: select_embedded
-- The names that a batch's contents were asked by, where the answer was loaded.
SELECT work.image_id
FROM birdwalk.work
JOIN {vectors} AS vectors USING (content_key)
WHERE work.run_id = $1 AND work.batch = $2 AND NOT work.gone AND work.error IS NULL

-- name: select_embedded_vectors
-- The same with their vectors, for a batch that was embedded on another disk.
SELECT work.image_id, vectors.embedding
FROM birdwalk.work
JOIN {vectors} AS vectors USING (content_key)
WHERE work.run_id = $1 AND work.batch = $2 AND NOT work.gone AND work.error IS NULL
