-- Whether an image is in a run's listing.
SELECT EXISTS (SELECT FROM birdwalk.objects WHERE run_id = $1 AND image_id = $2)
