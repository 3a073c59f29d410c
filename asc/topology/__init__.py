"""What a network consists of: one description of each family, without torch, that every reader follows."""
