-- name: delete_old_objects
-- Only the last listing of an index is kept.
DELETE FROM birdwalk.objects
WHERE run_id IN (SELECT run_id FROM birdwalk.runs WHERE index_name = $1)

-- name: update_run_listing
-- What the listing found.
UPDATE birdwalk.runs SET objects = $2, listed = $3, skipped = $4 WHERE run_id = $1

-- name: analyze_objects
-- What the planner must know of the listing that was just written.
ANALYZE birdwalk.objects (run_id, image_id, generation, content_hash)
