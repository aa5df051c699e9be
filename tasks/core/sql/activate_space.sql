-- The space that readers see from this transaction on.
UPDATE birdwalk.spaces SET status = 'active', published_at = now() WHERE space_id = $1
