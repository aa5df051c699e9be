-- name: select_answered
-- The contents of a batch that were asked, and the name that each was asked by, but for those that
-- are left or gone.
SELECT content_key, image_id
FROM birdwalk.work
WHERE run_id = $1 AND batch = $2 AND NOT gone AND error IS NULL
ORDER BY image_id
