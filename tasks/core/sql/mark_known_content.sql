-- Content whose vector the space has already, under any name and bucket, needs no call.
-- Only md5 tells content apart well enough: crc32c and size are 32 bits and a length.
-- Apart from the UPDATE, since that would read the rows themselves and not only their key's index.
WITH known AS MATERIALIZED (
    SELECT DISTINCT content_hash
    FROM {table}
    WHERE content_hash IN (
        SELECT content_hash FROM diff
        WHERE kind IN ('new', 'changed') AND starts_with(content_hash, 'md5:')
    )
)
UPDATE diff SET kind = 'duplicate'
FROM known
WHERE known.content_hash = diff.content_hash AND diff.kind IN ('new', 'changed')
