-- Who may do what with the view, or with one column of it, to be granted again on its successor.
SELECT acl.privilege_type AS privilege, acl.grantee::regrole::text AS grantee,
    acl.grantee = 0 AS public, acl.is_grantable AS grantable, granted.column_name
FROM (
    SELECT relowner, relacl AS acl, NULL AS column_name
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relname = $1
    UNION ALL
    SELECT relowner, attacl, attname::text
    FROM pg_class
    JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
    WHERE relnamespace = 'public'::regnamespace AND relname = $1
) AS granted, aclexplode(granted.acl) AS acl
WHERE acl.grantee <> granted.relowner
