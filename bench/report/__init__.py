"""Records as text for people: rows first, then one file for each way of showing them."""
