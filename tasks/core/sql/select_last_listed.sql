-- The last name of a listing.
SELECT max(image_id) FROM birdwalk.objects WHERE run_id = $1
