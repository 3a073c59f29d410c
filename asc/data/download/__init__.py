"""Download published data sets: fetch, check, unpack."""
