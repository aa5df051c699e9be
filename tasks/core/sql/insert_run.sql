-- Open a run.
INSERT INTO birdwalk.runs
    (index_name, bucket, prefix, model, dimension, preprocessing, requested_by, options)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING run_id, run_key
