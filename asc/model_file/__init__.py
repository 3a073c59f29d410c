"""The one model file: its layout in tensors, its header, reading and writing."""
