-- Whether an index has any space, published or not.
SELECT EXISTS (SELECT FROM birdwalk.spaces WHERE index_name = $1)
