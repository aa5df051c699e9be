-- The indexes that readers see, with the images that each was last found to hold.
SELECT index_name, rows
FROM birdwalk.spaces
WHERE status = 'active'
ORDER BY index_name
