-- The true neighbours: the added zero keeps any index out of it.
SELECT bucket, image_id, embedding <-> $1 AS distance
FROM {table}
ORDER BY (embedding <-> $1) + 0
LIMIT $2
