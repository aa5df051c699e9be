-- What the planner must know of the work lists that were just written.
ANALYZE birdwalk.pending (run_id, batch, image_id, generation, content_hash)
