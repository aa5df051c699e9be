-- A few images of one kind.
SELECT image_id FROM diff WHERE kind = $1 ORDER BY image_id LIMIT 3
