-- Content whose vector would be recovered needs no call under another name either.
UPDATE diff SET kind = 'duplicate'
FROM recovered
WHERE recovered.content_hash = diff.content_hash
    AND starts_with(diff.content_hash, 'md5:')
    AND diff.kind IN ('new', 'changed')
