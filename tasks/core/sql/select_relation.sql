-- What stands in the place of the view: its kind, and whether birdwalk made it.
SELECT relkind::text AS kind, obj_description(oid, 'pg_class') AS comment
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relname = $1
