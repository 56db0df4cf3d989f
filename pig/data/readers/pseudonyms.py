"""Ids that do not tell who a patient is; equal at every import with the same salt.

A patient's id is often short and can be guessed, so a plain hash of it could be looked up; a keyed one (HMAC-SHA256)
cannot without the salt, which stays with whoever imports.
"""

import hashlib
import hmac

from pig.data.pairs import Pairs

DIGITS = 12  # of a pseudonym, hexadecimal: among 10,000 two are equal with a chance of 1 in 5 million


def pseudonym(salt: bytes, *words: str) -> str:
    """DIGITS hexadecimal digits that depend on the salt and on each of the words."""
    return hmac.new(salt, "\0".join(words).encode(errors="surrogateescape"), hashlib.sha256).hexdigest()[
        :DIGITS
    ]


def pseudonymise(pairs: Pairs, salt: bytes) -> Pairs:
    """Pairs with pseudonyms for id and patient and no names of files, in an order that tells nothing.

    Pairs of one patient still have one patient, also in another import of the same origin with the same salt.
    """
    table = pairs.table.copy()
    for column in ("id", "patient"):
        named = zip(table["origin"], table[column], strict=True)
        table[column] = [pseudonym(salt, column, origin, text) for origin, text in named]
    if "file" in table:
        table["file"] = ""
    order = table.sort_values(["patient", "id"]).index
    return Pairs(pairs.images, pairs.masks, table).select(order)
