"""Models as files: directories, their cards, and checkpoints of others."""
