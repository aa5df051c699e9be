-- Whether birdwalk's own tables are there.
SELECT to_regclass('birdwalk.spaces') IS NOT NULL
