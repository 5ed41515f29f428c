"""Judging samples: measures with their uncertainty, records, comparison and verification."""
