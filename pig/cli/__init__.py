"""The command line `pig VERB`: options, progress, and files in and out. Nobody imports it."""
