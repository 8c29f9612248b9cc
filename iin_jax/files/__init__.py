"""Ground floor: files, folders, locks, digests, hints and the machine."""
