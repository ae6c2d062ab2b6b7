"""The verbs a board has, one file each."""
