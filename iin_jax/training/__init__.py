"""Pure steps, the optimiser, devices, checkpoints and the loop."""
