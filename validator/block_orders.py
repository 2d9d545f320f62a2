"""An operator's order to list items of a pair, before it is taken down."""

import logging

from curiosity.protocol.entry import PairEntry
from curiosity.protocol.errors import Rejected
from curiosity.protocol.orders import BlockOrder, BlockReport
from curiosity.protocol.pair import Envelope
from curiosity.protocol.takedown import check_everywhere
from curiosity.protocol.wire import parse
from curiosity.serving.block_list import BlockedItem, describe_item
from validator.blocking import change_list
from validator.service import Service

log = logging.getLogger(__name__)


async def block_pair(s: Service, order: BlockOrder) -> BlockReport:
    """List items of a pair that the ledger decided about, as long as their bytes are here.

    Raises:
        Rejected: NOT_FOUND (404), PAIR_TAKEN_DOWN (410), TAKEDOWN_EVERYWHERE for modalities that it does not have.
        ConfigError: What `change_list` raises.
    """
    s.forgotten.check_pair(order.pair)
    decided = await s.threads.on_reader(lambda: s.store.find_pair(order.pair))
    if decided is None:
        what = f"pair 0x{order.pair.hex()} is not in this ledger"
        raise Rejected("NOT_FOUND", what, "Name a pair by the digest in its receipt.", status=404)
    reach = check_everywhere(order.modalities, parse(PairEntry, decided.leaf).modalities)
    (row,) = await s.threads.on_reader(lambda: s.store.submissions(decided.index, 1))
    submission = parse(Envelope, row.envelope).submission
    items: list[BlockedItem] = []
    for part in (submission.a, submission.b):
        if part.modality not in reach:
            continue
        items.append(BlockedItem("sha256", part.sha256))
        content = await s.threads.on_reader(lambda part=part: s.store.blob(part.sha256))  # type: ignore[misc]
        if content is not None:
            try:
                array = await s.decoder.decode(part.modality, part.media_type, content)
            except Rejected:  # it could not be decoded when it came either
                continue
            items += await s.threads.on_reader(
                lambda part=part, content=content, array=array: describe_item(content, part.modality, array)  # type: ignore[misc]
            )
    added = await s.threads.on_reader(lambda: change_list(s.blocked_items.path, add=items))
    log.info("event=items_blocked lines=%d", added)
    return BlockReport(added)
