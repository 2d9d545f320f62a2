"""Section [validator]: the service that judges pairs and keeps the ledger."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from curiosity.host.settings.declare import setting
from curiosity.protocol.rewards import USUAL_BELIEF

DEFAULT_LICENSES: Final = (
    "Apache-2.0",
    "BSD-3-Clause",
    "CC-BY-4.0",
    "CC0-1.0",
    "GPL-3.0-or-later",
    "MIT",
    "OFL-1.1",
    "Unicode-3.0",
    "Unlicense",
)


@dataclass(frozen=True)
class ValidatorConfig:
    """Section [validator]: every setting and limit of a validator."""

    name: str = setting("curiosity-local", "Name of the network; no spaces, no plus sign.")
    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int = setting(8440, "Port to listen on. 0 picks a free one and prints it.", least=0, most=65535)
    data_dir: Path = setting(Path("~/.curiosity/validator"), "Folder of the ledger, the keys and the checkpoints.")
    store_url: str = setting("", "SQLAlchemy URL of the database. Empty: SQLite in data_dir.", secret=True)
    genesis: Path | None = setting(
        None,
        "Checkpoint folder that a new network starts with. Empty or offline: the shipped one that knows real "
        "pictures; tiny: the shipped one that is fast and knows emoji and digits alone.",
    )
    device: str = setting("", 'Where the encoders run: "cuda" or "cpu". Empty: cuda where there is one.')
    decode_workers: int = setting(2, "Processes that decode items.")
    curiosity_rule: str = setting("pinned", "How a pair's novelty is measured; docs/scoring.md describes the rules.")
    licenses: tuple[str, ...] = setting(DEFAULT_LICENSES, "Licences under which pairs are accepted.")
    max_queue_pairs: int = setting(
        1024, "Pairs that are admitted and not yet decided; one more gets 503 with Retry-After."
    )
    max_batch_pairs: int = setting(256, "Pairs that are decided in one transaction, at most.")
    pairs_per_minute: int = setting(0, "Pairs that one contributor may submit a minute. 0 means no limit.")
    queries_per_minute: int = setting(600, "Searches that one remote address may make a minute.")
    bytes_per_hour: int = setting(2 << 30, "Bytes that one contributor may send an hour. 0 means no limit.")
    work_per_hour: int = setting(
        36_000_000_000, "Units of work (docs/protocol.md) that one contributor may cause an hour. 0 means no limit."
    )
    quota_address_share: int = setting(
        2,
        "How many times those quotas one address (IPv6: one /64) may use. 0 means no limit: behind a proxy all come "
        "from one address.",
    )
    quota_network_share: int = setting(
        4, "How many times those quotas one network (IPv4: /24, IPv6: /48) may use. 0 means no limit."
    )
    pair_budget: tuple[int, int, int] = setting(
        (1_000_000, 300, 64_000_000), "Units of work that one item of a pair may cost: a base, for each byte, at most."
    )
    search_budget: tuple[int, int, int] = setting(
        (400_000, 300, 16_000_000), "The same for the item of a search, which nobody signs."
    )
    max_body_bytes: int = setting(256 << 20, "Bytes of all request bodies held at a time. 0 means no limit.")
    max_answer_bytes: int = setting(
        256 << 20, "Bytes of all answers above 64 KiB that wait to be fetched. 0 means no limit."
    )
    fair_queues: bool = setting(
        True, "true: pairs take turns by network, address and contributor; false: first come, first served."
    )
    max_results: int = setting(100, "The most results that one search may ask for.")
    max_connections: int = setting(1024, "Connections that may be open at a time.")
    max_connections_per_address: int = setting(
        256, "Connections of one address at a time. 0 means no limit: behind a proxy all come from one address."
    )
    evict_when_full: bool = setting(
        True, "true: one connection more ends an idle one of the network that holds most; false: it gets 503."
    )
    header_timeout_s: float = setting(
        4.0, "Seconds from connecting, or from the first byte of a request, to the end of its head."
    )
    body_timeout_s: float = setting(20.0, "Seconds from the end of a request's head to the end of its body.")
    min_body_bytes_per_s: int = setting(1024, "Bytes a second that a body must bring, over any 3.5 seconds.")
    answer_timeout_s: float = setting(20.0, "Seconds after which an answer of which nothing was fetched is given up.")
    idle_timeout_s: float = setting(75.0, "Seconds that a connection may rest between two requests.")
    keep_refused_days: int = setting(
        14, "Days for which items of rejected and grey pairs are kept for their contributor and auditors. 0 keeps none."
    )
    max_held_bytes: int = setting(
        10 << 30,
        "Bytes of the items of held pairs that wait for another checkpoint. Beyond them the oldest of these pairs are "
        "judged no more, and their items are kept as those of rejected pairs are.",
        least=1,
        most=1 << 60,
    )
    expiry_interval_s: float = setting(
        600.0,
        "Seconds between two rounds that delete those kept long enough, or audit.",
    )
    auditors: tuple[str, ...] = setting(
        (),
        "Addresses (0x and 40 hex digits) that may see those items, besides the validators that the contract names.",
    )
    blocked_items: Path | None = setting(
        None,
        "File of items that are refused by their hashes, read again when it changes (`curiosity validator block`). "
        "Empty: blocked-items.txt in data_dir, which need not be there.",
    )
    witnesses: tuple[str, ...] = setting(
        (), 'Witnesses to ask for cosignatures: "URL VKEY [VKEY]" each, as `curiosity witness keys` shows the keys.'
    )
    quorum: int = setting(
        0, "How many witnesses make a tree head a cosigned one, which offline proofs are made against."
    )
    witness_interval_s: float = setting(1.0, "Seconds between two tree heads that are sent to the witnesses, at least.")
    epoch_s: int = setting(0, "Seconds after which the validator closes an epoch. 0 waits for the operator.")
    rule2_epoch: int = setting(
        1,
        "Epoch from which version 4 of the rule of pay holds (docs/protocol.md, step 15). It is written into the "
        "ledger, for ever, at the first start at which that epoch has not begun. 0 leaves the ledger's rule.",
    )
    min_epoch_s: int = setting(
        86_400, "Least seconds from one epoch's close to the next, which is written into the ledger with that rule."
    )
    audit_micro: int = setting(
        0,
        "Share of the paid pairs that are judged again before they vest, in millionths, which is written into the "
        "ledger with that rule. A failed audit stops what its pair has not got.",
    )
    audit_checkpoint: Path | None = setting(
        None,
        "Genesis checkpoint (a folder; tiny or offline: a shipped one) that judges audits. Contributors cannot search "
        "for what one likes that nobody publishes. Empty: that in force, which may have learned from who is audited.",
    )
    unpaid_returns: int = setting(
        1,
        "With 1 what is not paid remains for later epochs. Set 0 under contracts of earlier versions, which lower what "
        "remains by number alone. It is written into the ledger with that rule.",
    )
    generated_micro: int = setting(
        250_000,
        "Share of an epoch that pairs declared as generated get together at most, in millionths, which is written "
        "into the ledger with that rule. 1000000: no limit. Generated readings count under spoken_micro alone where "
        "that is smaller.",
    )
    spoken_micro: int = setting(
        50_000,
        "The same of pairs of a sound and a text, which to the encoders that come with the program are texts read out. "
        "What their items get from the pool for new items is not limited by it.",
    )
    full_belief: int = setting(
        USUAL_BELIEF,
        "Belief, in fortieths, from which a pair has its whole weight in the pay, which is written into the ledger "
        "with that rule. A step below it a quarter is left, farther below nothing. 0: beliefs do not count.",
    )
    activation_poll_s: float = setting(2.0, "Seconds between two looks at whether a posted epoch can be activated.")

    @property
    def url(self) -> str:
        """The store's SQLAlchemy URL."""
        return self.store_url or f"sqlite:///{self.data_dir.expanduser().resolve() / 'ledger.sqlite'}"
