-- The twins that wait, by content. Looked up first: CREATE INDEX waits for writers even where the
-- index exists.
DO $$
BEGIN
    IF to_regclass('birdwalk.pending_twins') IS NULL THEN
        CREATE INDEX pending_twins ON birdwalk.pending (run_id, content_hash, image_id)
        WHERE batch = 0;
    END IF;
END
$$
