-- name: create_stage
-- Where vectors wait of which some may be there already.
CREATE TEMPORARY TABLE IF NOT EXISTS stage (
    content_key text COLLATE "C" NOT NULL,
    embedding vector({dimension}) NOT NULL
) ON COMMIT DROP

-- name: insert_stage
-- Put the waiting vectors where there are none: that of a content never changes.
INSERT INTO {vectors} (content_key, embedding)
SELECT content_key, embedding FROM stage
ON CONFLICT (content_key) DO NOTHING

-- name: select_has_refusals
-- Whether any content of a space is refused.
SELECT EXISTS (SELECT FROM birdwalk.refusals WHERE space_id = $1)

-- name: delete_answered_refusals
-- A content that has a vector now is refused no longer.
DELETE FROM birdwalk.refusals WHERE space_id = $1 AND content_key = ANY ($2::text[])
