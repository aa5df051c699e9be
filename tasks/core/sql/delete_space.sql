-- Forget one space; its refusals go with it.
DELETE FROM birdwalk.spaces WHERE space_id = $1
