-- What the planner must know of the listing that was just written.
ANALYZE birdwalk.objects (run_id, image_id, generation, content_hash)
