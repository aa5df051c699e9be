-- Make room for the space that is published next; its table stays, for a way back.
UPDATE birdwalk.spaces SET status = 'retired'
WHERE index_name = $1 AND status = 'active' AND space_id <> $2
