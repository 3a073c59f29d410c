"""What launch scripts and Python callers share: a search, a training, an evaluation, a size, each as one function."""
