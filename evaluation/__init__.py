"""What the index is worth: recordings by others through the real pipeline, held against their labels."""
