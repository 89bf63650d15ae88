"""Tests of the second reader: `python -m unittest discover -s spec/reader/tests -t spec/reader`."""
