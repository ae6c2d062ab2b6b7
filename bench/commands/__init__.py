"""Verbs of the host that work on records, one a file: flags to functions, results to text."""
