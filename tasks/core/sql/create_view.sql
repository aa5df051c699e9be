-- What readers query. CREATE takes no bound values, so the model's name is a quoted literal.
CREATE VIEW public.{index} AS
SELECT image_id, content, embedding, bucket, generation, {model}::text AS model
FROM {table}
