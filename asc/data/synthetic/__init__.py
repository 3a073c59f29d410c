"""The built-in data: generated scenes."""
