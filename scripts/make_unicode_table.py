"""Write curiosity/embedding/modalities/unicode_table.py from the Unicode database of the package unicodedata2.

    pip install --target DIR unicodedata2==15.1.0
    PYTHONPATH=DIR python scripts/make_unicode_table.py > curiosity/embedding/modalities/unicode_table.py

What counts as text is protocol: another version of the table is another protocol.
"""

import sys
import textwrap
from collections.abc import Callable

import unicodedata2 as database  # type: ignore[import-not-found, unused-ignore]

VERSION = "15.1.0"
REFUSED = ("Cc", "Cs", "Cn")


def ranges(value: Callable[[str], int]) -> list[str]:
    """Return runs of code points with one value other than 0, as hexadecimal ``first-last:value``."""
    found, start, held = [], 0, 0
    for code in range(sys.maxunicode + 2):
        now = value(chr(code)) if code <= sys.maxunicode else 0
        if now != held:
            if held:
                found.append(f"{start:x}-{code - 1:x}:{held}")
            start, held = code, now
    return found


def decompositions() -> list[str]:
    """Return ``composed:one+two`` of every canonical decomposition; ``!`` for what composition leaves apart."""
    found = []
    for code in range(sys.maxunicode + 1):
        parts = database.decomposition(chr(code))
        if parts and not parts.startswith("<"):
            sign = ":" if database.normalize("NFC", chr(code)) == chr(code) else "!"
            found.append(f"{code:x}{sign}{'+'.join(f'{int(part, 16):x}' for part in parts.split())}")
    return found


def show(name: str, items: list[str]) -> str:
    """Return the assignment of one table."""
    lines = "\n".join(textwrap.wrap(" ".join(items), 116, break_on_hyphens=False))
    return f'{name} = """\n{lines}\n"""\n'


if database.unidata_version != VERSION:
    sys.exit(f"unicodedata2 holds Unicode {database.unidata_version}, wanted is {VERSION}")
print(f'"""Made by scripts/make_unicode_table.py from Unicode {VERSION}; do not edit by hand."""\n')
print(f'VERSION = "{VERSION}"\n')
print("# Runs of characters that text may hold: neither control characters nor surrogates nor unassigned.")
print(show("TAKEN", [each.partition(":")[0] for each in ranges(lambda sign: database.category(sign) not in REFUSED)]))
print("# Canonical combining classes other than 0.")
print(show("CLASSES", ranges(database.combining)))
print("# Canonical decompositions without those of Hangul; ! marks what is never composed.")
print(show("DECOMPOSITIONS", decompositions()), end="")
