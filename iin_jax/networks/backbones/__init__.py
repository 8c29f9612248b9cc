"""Pretrained architectures in Flax, one per file."""
