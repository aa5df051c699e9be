-- The planner needs to know the table it has now, and index-only scans what is visible to all. What
-- ANALYZE would find out about vectors, by sorting them, nothing asks for.
VACUUM (ANALYZE) {table} (bucket, image_id, content, generation, content_hash, embedded_at)
