"""The committed ABI and bytecode, and what a revert means in words."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Required, TypedDict

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from sha3 import keccak_256

from curiosity.host.paths import inside
from curiosity.protocol.errors import ChainError

_ABI_DIR = Path(__file__).resolve().parent / "abi"
CONTRACT_NAMES = ("CuriosityRewards", "CuriosityStake", "CuriosityToken")


class AbiInput(TypedDict):
    """One argument as the ABI declares it."""

    name: str
    type: str


class AbiEntry(TypedDict, total=False):
    """One function, event, error or constructor of an ABI, as far as it is read here."""

    type: Required[str]
    name: str
    inputs: list[AbiInput]


# Solidity's own two errors (docs.soliditylang.org, "Panic via assert and Error via require").
_BUILT_IN_ERRORS: tuple[AbiEntry, ...] = (
    {"type": "error", "name": "Error", "inputs": [{"name": "message", "type": "string"}]},
    {"type": "error", "name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
)


@dataclass(frozen=True)
class Artifact:
    """One built contract: its ABI and the bytecode that deploys it (without constructor arguments).

    ``deployed``: the code that it leaves on the chain, but for the ``immutables`` ((start, length) each), which the
    constructor fills in.
    """

    name: str
    abi: list[AbiEntry]
    bytecode: bytes
    deployed: bytes
    immutables: tuple[tuple[int, int], ...]

    def is_code(self, code: bytes) -> bool:
        """Return whether that code on a chain is this contract's, whatever its constructor was given."""
        masked = bytearray(code)
        for start, length in self.immutables:
            masked[start : start + length] = bytes(len(masked[start : start + length]))
        return bytes(masked) == self.deployed

    def immutable_words(self, code: bytes) -> set[bytes]:
        """Return what the constructor of this code filled in, 32 bytes each."""
        return {code[start : start + length] for start, length in self.immutables}


@dataclass(frozen=True)
class Revert:
    """Why a call was refused: the error's name and its arguments by name, in the contract's order."""

    name: str
    arguments: tuple[tuple[str, object], ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={_show(value)}' for name, value in self.arguments)})"


@cache
def load_artifact(name: str) -> Artifact:
    """Return the committed artifact of that name.

    Raises:
        ChainError: ``ABI_MISSING`` when its file cannot be read.
    """
    path = inside(_ABI_DIR, f"{name}.json", one=True, links=True)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        code, deployed = (bytes.fromhex(content[key].removeprefix("0x")) for key in ("bytecode", "deployedBytecode"))
        places = tuple((start, length) for start, length in content["immutables"])
        return Artifact(name, content["abi"], code, deployed, places)
    except (OSError, ValueError, KeyError) as error:
        raise ChainError(
            "ABI_MISSING",
            f"curiosity/chain/abi/{path.name} cannot be used: {error}",
            "Install the package again, or run `python -m contracts.build` in a checkout.",
        ) from error


def decode_revert(data: bytes) -> Revert | None:
    """Return the error behind a revert's data, as our contracts and Solidity itself declare it.

    None when it is unknown.
    """
    entry = _errors_by_selector().get(data[:4])
    if entry is None:
        return None
    inputs = entry["inputs"]
    try:
        values = decode([item["type"] for item in inputs], data[4:])
    except DecodingError:
        return None
    return Revert(entry["name"], tuple((item["name"], value) for item, value in zip(inputs, values, strict=True)))


@cache
def _errors_by_selector() -> dict[bytes, AbiEntry]:
    entries = [entry for name in CONTRACT_NAMES for entry in load_artifact(name).abi if entry["type"] == "error"]
    selectors: dict[bytes, AbiEntry] = {}
    for entry in [*_BUILT_IN_ERRORS, *entries]:
        text = f"{entry['name']}({','.join(item['type'] for item in entry['inputs'])})"
        selectors[bytes(keccak_256(text.encode()).digest()[:4])] = entry
    return selectors


def _show(value: object) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
