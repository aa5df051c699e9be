-- Rows that a run would load; two dead runs may both have paid for an image.
INSERT INTO recovered (image_id, generation, content_hash)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[])
ON CONFLICT (image_id) DO NOTHING
