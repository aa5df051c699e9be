-- name: sample_vectors
-- A repeatable sample of vectors: whole random pages, then a random choice among them.
SELECT content_key, embedding
FROM {vectors} TABLESAMPLE SYSTEM ($1) REPEATABLE ($2)
ORDER BY hashtextextended(content_key, $2::bigint)
LIMIT $3
