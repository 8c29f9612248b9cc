"""Networks that an experiment trains itself."""
