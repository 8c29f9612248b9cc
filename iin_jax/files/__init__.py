"""Ground floor: files written whole, and hints in messages about names."""
