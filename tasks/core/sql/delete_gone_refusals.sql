-- So do their refusals.
DELETE FROM birdwalk.refusals
WHERE space_id = $4 AND bucket = $2 AND starts_with(image_id, $3)
    AND NOT EXISTS (
        SELECT FROM birdwalk.objects
        WHERE objects.run_id = $1 AND objects.image_id = refusals.image_id
    )
