"""What is trained, and what may be searched."""
