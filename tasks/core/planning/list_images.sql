-- name: delete_old_listings
-- Only the last listing of an index is kept, and those of runs that are under way.
DELETE FROM birdwalk.listings
WHERE run_id IN (SELECT run_id FROM birdwalk.runs WHERE index_name = $1 AND verdict <> 'running')

-- name: delete_own_listing
-- What an earlier attempt of this run has listed.
DELETE FROM birdwalk.listings WHERE run_id = $1

-- name: analyze_listings
-- What the planner must know of the listing that was just written.
ANALYZE birdwalk.listings (run_id, image_id, generation, content_key)

-- name: update_run_listing
-- What the listing found, and when it began: what came into the bucket since may not be in it.
UPDATE birdwalk.runs SET objects = $2, listed = $3, skipped = $4, listed_at = $5 WHERE run_id = $1
