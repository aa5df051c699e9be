-- How many of these versions are stored already.
SELECT count(*)
FROM unnest($2::text[], $3::bigint[]) AS version (image_id, generation)
JOIN {table} AS stored
    ON stored.bucket = $1 AND stored.image_id = version.image_id
    AND stored.generation = version.generation
