"""Ten years of emissions, epoch by epoch: Python, the contract under forge and on a chain agree to the wei."""

import re
from pathlib import Path

from contracts.devchain import DEFAULT_CHAIN_ID, DevChain
from curiosity.chain.attestation import address_of
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
    """Each emission follows from the sum of all before it, so that a hundred of them pin down every one."""
    with DevChain() as dev:
        client = ChainClient.connect(ChainConfig(dev.rpc_url, DEFAULT_CHAIN_ID))
        client.deploy(dev.private_key(0), DeploySettings((address_of(dev.private_key(1)),), 1, PARAMETERS))
        amounts = emissions()
        for epoch in [*range(1, EPOCHS + 1, 37), EPOCHS]:
            assert client.emission(epoch) == amounts[epoch - 1]
