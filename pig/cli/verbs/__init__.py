"""One module a verb of `pig`: read files and settings, call one function, write files.

The first line of a module's docstring is the verb's help. Heavy libraries are imported inside `run`,
so that `pig --help` answers at once.
"""
