-- How the listing differs from the space's table: one row an image that is not as it was.
-- A twin of an image to be embedded is a duplicate now; its own kind is what it would be without.
CREATE TEMPORARY TABLE diff (
    image_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    content_type text,
    content_hash text,
    kind text NOT NULL,
    kind_as_twin text
) ON COMMIT DROP
