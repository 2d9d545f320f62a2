"""EIP-712 typed-data signatures over secp256k1: digests, signing, recovery.

The encoder is specialised to our structs: hashing them costs a few Keccak calls and no walk over a type description.
Tests hold it equal to eth-account's generic encoder. Source: EIP-712, EIP-2 (low s), SEC 1 section 4.1.6 (recovery).
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import coincurve
import sha3

from curiosity.protocol.errors import Rejected
from curiosity.protocol.wire import STRICT, Bytes20, ShortText, Uint64

SECP256K1_N = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_HALF_N = SECP256K1_N // 2
_HEX = re.compile(r"[0-9a-fA-F]*")
_KEY_DIGITS = re.compile(r"[0-9a-fA-F]{64}")
_DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


def keccak(data: bytes) -> bytes:
    """Return Keccak-256 of ``data`` (the Ethereum variant, not SHA3-256)."""
    digest: bytes = sha3.keccak_256(data).digest()
    return digest


@lru_cache(maxsize=4096)
def text_hash(text: str) -> bytes:
    """Return Keccak-256 of ``text``, as EIP-712 encodes a string; remembered, since media types and licences repeat."""
    return keccak(text.encode())


def word(value: int) -> bytes:
    """Return an unsigned integer as one 32-byte ABI word."""
    return value.to_bytes(32, "big")


@dataclass(frozen=True)
class Domain:
    """The EIP-712 domain: a signature counts for one chain and one rewards contract only."""

    chain_id: Uint64
    verifying_contract: Bytes20
    name: ShortText = "Curiosity"
    version: ShortText = "1"

    __pydantic_config__ = STRICT


@lru_cache(maxsize=64)
def domain_separator(domain: Domain) -> bytes:
    """Return the domain's struct hash."""
    return keccak(
        keccak(_DOMAIN_TYPE)
        + keccak(domain.name.encode())
        + keccak(domain.version.encode())
        + word(domain.chain_id)
        + domain.verifying_contract.rjust(32, b"\0")
    )


def typed_digest(domain: Domain, struct_hash: bytes) -> bytes:
    """Return the 32 bytes that a wallet signs: ``keccak(0x1901 || separator || struct hash)``."""
    return keccak(b"\x19\x01" + domain_separator(domain) + struct_hash)


def parse_private_key(text: str) -> bytes:
    """Return the private key that 64 hex digits spell, with 0x in front or not, and white space around.

    Raises:
        ValueError: For anything else; its words say what is wrong and show nothing of ``text``.
    """
    key = parse_seed(text.strip().removeprefix("0x").removeprefix("0X"))
    _private(key)
    return key


def parse_seed(text: str) -> bytes:
    """Return the 32 bytes that 64 hex digits spell, with white space around: what key and token files of services hold.

    Raises:
        ValueError: For anything else; its words say what is wrong and show nothing of ``text``.
    """
    digits = text.strip()
    if _KEY_DIGITS.fullmatch(digits) is None:
        what = "digits" if _HEX.fullmatch(digits) else "characters that are not all hex digits"
        raise ValueError(f"{len(digits)} {what}, expected 64 hex digits")
    return bytes.fromhex(digits)


def _private(key: bytes) -> coincurve.PrivateKey:
    """Return the library's key, without what the library makes of other lengths.

    Of 0 bytes it makes a random key, of few bytes a padded one.
    """
    if len(key) != 32:
        raise ValueError(f"{len(key)} bytes, a private key has 32")
    if not 0 < int.from_bytes(key, "big") < SECP256K1_N:
        raise ValueError("the number is 0 or not below the order of secp256k1")
    return coincurve.PrivateKey(key)


def address_of(private_key: bytes) -> bytes:
    """Return the 20-byte address of a 32-byte private key.

    Raises:
        ValueError: If it is not a valid key.
    """
    return _address(_private(private_key).public_key)


def _address(public_key: coincurve.PublicKey) -> bytes:
    return keccak(public_key.format(compressed=False)[1:])[12:]


def checksum(address: bytes) -> str:
    """Return the EIP-55 spelling of a 20-byte address."""
    digits = address.hex()
    marks = keccak(digits.encode()).hex()
    return "0x" + "".join(d.upper() if int(m, 16) >= 8 else d for d, m in zip(digits, marks[:40], strict=True))


def sign(digest: bytes, private_key: bytes) -> bytes:
    """Return the 65-byte signature ``r || s || v`` with low s and v in {27, 28}.

    Raises:
        ValueError: As `address_of`.
    """
    signature = _private(private_key).sign_recoverable(digest, hasher=None)
    return signature[:64] + bytes([signature[64] + 27])


def _refuse(code: str, what: str) -> Rejected:
    return Rejected(code, what, "Sign the typed data again with the wallet that submits.", status=401)


def recover(digest: bytes, signature: bytes) -> bytes:
    """Return the 20-byte address whose key signed ``digest``.

    Raises:
        Rejected: SIGNATURE_LENGTH unless 65 bytes, SIGNATURE_V unless v is 27 or 28, SIGNATURE_HIGH_S for the malleable
            twin, SIGNATURE_INVALID if no key fits.
    """
    if len(signature) != 65:
        raise _refuse("SIGNATURE_LENGTH", f"the signature has {len(signature)} bytes, expected 65")
    if signature[64] not in (27, 28):
        raise _refuse("SIGNATURE_V", f"v is {signature[64]}, expected 27 or 28")
    if int.from_bytes(signature[32:64], "big") > _HALF_N:
        raise _refuse("SIGNATURE_HIGH_S", "s is in the upper half of the group order (EIP-2)")
    try:
        recoverable = signature[:64] + bytes([signature[64] - 27])
        return _address(coincurve.PublicKey.from_signature_and_message(recoverable, digest, hasher=None))
    except Exception as error:  # noqa: BLE001 - coincurve raises bare Exception and ValueError for points off the curve
        raise _refuse("SIGNATURE_INVALID", f"no key made this signature ({error})") from None
