-- Everything of birdwalk's but the readers' views.
CREATE SCHEMA IF NOT EXISTS birdwalk
