"""What a network costs, from its config alone: stored bytes, operations and memory; and the rules that limit them."""
