"""Speed and memory, side by side with a PyTorch version of the same training."""
