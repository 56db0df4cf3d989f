"""Networks, and the methods that sample with them: one file a method, named in table.py."""
