-- The nearest images whose name begins with a prefix; equally near ones by their names.
SELECT stored.bucket, stored.image_id, stored.embedding <-> $1 AS distance
FROM {table} AS stored
WHERE starts_with(stored.image_id, $3)
ORDER BY stored.embedding <-> $1, stored.image_id, stored.bucket
LIMIT $2
