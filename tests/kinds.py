"""Small csv files of one kind, for tests in which few of their columns matter."""

import numpy as np
import pandas as pd


def filled(kind, frame):
    """`frame` with the other columns of `kind`: any text, the whole number 0, no number."""
    columns = dict(frame)
    made = (
        dict.fromkeys(kind.numbers, np.nan) | dict.fromkeys(kind.counts, 0) | dict.fromkeys(kind.blanks, "")
    )
    return pd.DataFrame(made | dict.fromkeys(kind.columns, "any") | columns)
