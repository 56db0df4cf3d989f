"""What everything stands on: errors, files, settings, the paths of a study, the hash of code. It imports nothing of pig."""
