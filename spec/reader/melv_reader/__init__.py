"""A second reader of the melv format, written from `spec/format.md` alone."""

__version__ = "1.0"
