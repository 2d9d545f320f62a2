"""Ten years of emissions, epoch by epoch: Python, the contract under forge and on a chain agree to the wei."""

import re
from pathlib import Path

from contracts.devchain import DEFAULT_CHAIN_ID, DevChain
from curiosity.chain.attestation import address_of, sign_attestation
from curiosity.chain.chain import ChainConfig, DeploySettings
from curiosity.chain.evm import ChainClient
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import keccak, word

EPOCHS = 3_653
PARAMETERS = RewardParameters()


def emissions() -> list[int]:
    """The first ten years, each from what the ones before it left."""
    remaining, amounts = PARAMETERS.pool_wei, []
    numerator, denominator = PARAMETERS.epoch_decay
    for _ in range(EPOCHS):
        amounts.append(remaining * numerator // denominator)
        remaining -= amounts[-1]
    return amounts


def test_forge_posts_and_activates_the_emissions_that_python_reaches() -> None:
    """`PostingTest.test_TenYearsToTheWei` walks all epochs and ends with this digest; forge runs it with the others."""
    digest = bytes(32)
    for amount in emissions():
        digest = keccak(digest + word(amount))
    source = (Path(__file__).parent.parent / "contracts/test/Posting.t.sol").read_text()
    assert re.search(r"EMISSIONS = (0x[0-9a-f]{64});", source)[1] == "0x" + digest.hex()  # type: ignore[index]
    assert "epoch <= 3_653" in source


def test_the_parameters_give_the_same_walk() -> None:
    amounts = emissions()
    for epoch in (1, 2, 366, 3_652, 3_653):
        assert PARAMETERS.emission(epoch) == amounts[epoch - 1]
    assert PARAMETERS.emitted_until(EPOCHS) == sum(amounts)


def test_a_deployed_contract_gives_the_same_walk() -> None:
    """Where every epoch pays all that it may; one that pays less leaves the rest to all that come after it."""
    with DevChain() as dev:
        owner, validator = dev.private_key(0), dev.private_key(1)
        client = ChainClient.connect(ChainConfig(dev.rpc_url, DEFAULT_CHAIN_ID))
        settings = DeploySettings((address_of(validator),), 1, PARAMETERS, activation_delay_s=0, min_epoch_interval_s=0)
        client.deploy(owner, settings)
        total = 0
        for epoch, amount in enumerate([*emissions()[:20], 0, 1, 0], start=1):
            allowed = PARAMETERS.emission_of(PARAMETERS.pool_wei - total)
            assert client.emission(epoch) == client.emission(epoch + 1_000) == allowed
            if epoch <= 20:
                assert amount == allowed
            total += amount
            attestation = client.state().next_attestation(
                ledger_size=epoch, ledger_root=bytes(32), reward_root=bytes([epoch]) * 32, cumulative_total_wei=total
            )
            client.post_root(owner, attestation, [sign_attestation(attestation, client.domain, validator)])
            if epoch % 3 == 0:
                for waiting in (epoch - 2, epoch - 1, epoch):
                    client.activate(owner, waiting)
        assert client.emission(1) == PARAMETERS.emission(1)
        assert client.emission(0) == 0
