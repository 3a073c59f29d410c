"""The structure of networks: one description per family, without torch, from which every reader works."""
