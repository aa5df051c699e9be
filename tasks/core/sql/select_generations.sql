-- Which version of each of some objects a space has the vector of.
SELECT stored.bucket, stored.image_id, stored.generation
FROM unnest($1::text[], $2::text[]) AS asked (bucket, image_id)
JOIN {table} AS stored ON stored.bucket = asked.bucket AND stored.image_id = asked.image_id
