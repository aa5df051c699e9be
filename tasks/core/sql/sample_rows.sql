-- A repeatable sample of rows: whole random pages, then a random choice among them.
SELECT image_id, embedding
FROM {table} TABLESAMPLE SYSTEM ($1) REPEATABLE ($2)
ORDER BY hashtextextended(image_id, $2::bigint)
LIMIT $3
