"""From audio to predictions: clips, files, streams."""
