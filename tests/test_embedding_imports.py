"""The decode processes and the judge live without torch."""

import subprocess
import sys

PROGRAM = """
import sys
from curiosity.embedding.modalities import decode
import curiosity.embedding.modality, curiosity.embedding.masks
import curiosity.embedding.checkpoint, curiosity.embedding.presets
decode("text", b"a cat", "text/plain")
heavy = sorted(name for name in ("torch", "transformers") if name in sys.modules)
print(heavy)
"""


def test_decoding_and_reading_checkpoints_import_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
