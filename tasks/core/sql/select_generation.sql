-- Which version of an object a space has the vector of; no row where it has none.
SELECT generation FROM {table} WHERE bucket = $1 AND image_id = $2
