-- name: clear_errors
-- What is tried again is not left.
UPDATE birdwalk.pending SET error = NULL
WHERE run_id = $1 AND batch = $2 AND error IS NOT NULL

-- name: insert_refusal
-- Remember an object version that the model refused.
INSERT INTO birdwalk.refusals (space_id, bucket, image_id, generation, reason)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (space_id, bucket, image_id) DO UPDATE SET
    generation = excluded.generation,
    reason = excluded.reason,
    attempts = CASE
        WHEN refusals.generation = excluded.generation THEN refusals.attempts + 1 ELSE 1
    END,
    refused_at = now()

-- name: update_error
-- Leave an image for the next run, and say why.
UPDATE birdwalk.pending SET error = $4
WHERE run_id = $1 AND batch = $2 AND image_id = $3

-- name: delete_gone_object
-- The object vanished after it was listed.
DELETE FROM birdwalk.objects WHERE run_id = $1 AND image_id = $2

-- name: release_content
-- The vector of an image, if it has one, is not sure to be of the content that was listed: it must
-- not be given to any other.
UPDATE birdwalk.pending SET content_hash = NULL
WHERE run_id = $1 AND batch = $2 AND image_id = $3

-- name: promote_twin
-- The next image of a content takes the place of one that cannot give it a vector.
UPDATE birdwalk.pending SET batch = $2
WHERE run_id = $1 AND batch = 0 AND image_id = (
    SELECT image_id FROM birdwalk.pending
    WHERE run_id = $1 AND batch = 0 AND content_hash = $3
    ORDER BY image_id
    LIMIT 1
)
RETURNING image_id, generation, content_type, content_hash
