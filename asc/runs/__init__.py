"""A run's journal, its folder, its copy in a bucket, and its model card."""
