-- A refused version replaced the one whose vector we hold: that vector is of nothing any more.
DELETE FROM {table} WHERE bucket = $1 AND image_id = $2
