"""Mask-image pairs: in memory, in archives, for training loops, from the phantom and from files of others."""
