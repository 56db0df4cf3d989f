"""Errors, files, settings, the paths of a study and the hash of code. Imports nothing else of pig."""
