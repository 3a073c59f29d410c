"""Data sets from the net: fetched, checked, unpacked."""
