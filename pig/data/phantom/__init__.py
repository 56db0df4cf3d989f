"""The embedded data set: a procedural phantom of breast tomosynthesis."""
