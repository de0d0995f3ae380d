"""Files in and images out: downloads, archives, decoding, batches."""
