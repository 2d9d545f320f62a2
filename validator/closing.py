"""What the close of an epoch says of time: by the chain where there is one, else by the validator's clock."""

import secrets
from collections.abc import Callable

from curiosity.chain.evm import ChainClient
from curiosity.protocol.entry import Closing
from curiosity.protocol.errors import Rejected
from curiosity.protocol.vesting import Book


class Moments:
    """Tells blocks, times and beacons. ``clock`` is asked only where there is no chain. Asks the chain: blocks."""

    def __init__(self, chain: ChainClient | None, clock: Callable[[], float]) -> None:
        self._chain = chain
        self._clock = clock

    def now(self) -> tuple[int, int]:
        """Return the number of the newest block, 0 without a chain, and its time in Unix seconds.

        Raises:
            ChainError: CHAIN_ codes.
        """
        if self._chain is None:
            return 0, int(self._clock())
        newest = self._chain.block()
        return newest.number, newest.time

    def returns_unpaid(self) -> bool:
        """Return whether what is not paid may stay for later epochs: always without a chain.

        Raises:
            ChainError: CHAIN_ codes.
        """
        return self._chain is None or self._chain.returns_unpaid()

    def closing(self, book: Book) -> Closing:
        """Return what an entry says that closes the open epoch now.

        Raises:
            Rejected: EPOCH_EARLY (409) if the block of the beacon is not final yet.
            ChainError: CHAIN_ codes.
        """
        block, time = self.now()
        if self._chain is None or not book.beacon_block:
            return Closing(block, time, secrets.token_bytes(32))
        final = self._chain.final_height()
        if final < book.beacon_block:
            raise Rejected(
                "EPOCH_EARLY",
                f"the beacon is the hash of block {book.beacon_block}, final is block {final}",
                "Close the epoch when that block is final.",
                status=409,
            )
        return Closing(block, time, self._chain.block(book.beacon_block).hash)
