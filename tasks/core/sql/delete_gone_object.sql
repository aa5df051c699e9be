-- The object vanished after it was listed.
DELETE FROM birdwalk.objects WHERE run_id = $1 AND image_id = $2
