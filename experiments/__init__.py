"""What to copy: the command line, a config per experiment, notebooks, a benchmark."""
