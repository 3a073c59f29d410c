"""What runs trials on Ray: study, workers, groups, and what a machine does to them."""
