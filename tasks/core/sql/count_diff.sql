-- Images by what must be done about them.
SELECT kind, count(*) AS images FROM diff GROUP BY kind
