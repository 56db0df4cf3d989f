"""Data sets of others: a folder of images and masks, and public sets in their own form."""
