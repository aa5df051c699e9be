-- Who may do what with the view, to be granted again on its successor.
SELECT acl.privilege_type AS privilege, acl.grantee::regrole::text AS grantee,
    acl.grantee = 0 AS public, acl.is_grantable AS grantable
FROM pg_class, aclexplode(pg_class.relacl) AS acl
WHERE relnamespace = 'public'::regnamespace AND relname = $1 AND acl.grantee <> relowner
