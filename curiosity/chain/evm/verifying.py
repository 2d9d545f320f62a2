"""Whether what is deployed is what is committed: the code, the links between the contracts, and the terms."""

from curiosity.chain.artifacts import load_artifact
from curiosity.chain.chain import Addresses, DeploySettings, Terms
from curiosity.chain.evm.connection import ContractTarget, to_checksum
from curiosity.chain.evm.endpoints import Endpoints
from curiosity.protocol.errors import ChainError
from curiosity.protocol.rewards import RewardParameters

# Which of the others each contract was made with: its constructor keeps their addresses in its code.
_LINKS = {"token": ("rewards",), "rewards": ("token",), "stake": ("token", "rewards")}


def verify_code(endpoints: Endpoints, addresses: Addresses) -> None:
    """Compare the code at each address with the committed build, and what it was made with with the other addresses.

    Raises:
        ChainError: ``CHAIN_CODE_DIFFERS`` for other code, ``CHAIN_LINK_DIFFERS`` for the right code of another network.
    """
    for name, others in _LINKS.items():
        address: bytes = getattr(addresses, name)
        if not address:
            continue
        artifact = load_artifact(f"Curiosity{name.capitalize()}")
        code = endpoints.code(address)
        if not artifact.is_code(code):
            raise ChainError(
                "CHAIN_CODE_DIFFERS",
                f"the code at the {name} address 0x{address.hex()} is not that of the committed {artifact.name}",
                "Trust nothing there: it is another version or somebody else's contract.",
            )
        made_with = artifact.immutable_words(code)
        for other in others:
            linked: bytes = getattr(addresses, other)
            if bytes(12) + linked not in made_with:
                raise ChainError(
                    "CHAIN_LINK_DIFFERS",
                    f"the {name} contract 0x{address.hex()} was not made for the {other} contract 0x{linked.hex()}",
                    "The addresses are of two networks, or somebody put a contract of his own between: trust neither.",
                )


def read_terms(endpoints: Endpoints, addresses: Addresses, parameters: RewardParameters) -> Terms:
    """Return what the network was deployed with, as far as it can be asked."""
    rewards, token = (
        ContractTarget("CuriosityRewards", addresses.rewards),
        ContractTarget("CuriosityToken", addresses.token),
    )

    def account(function: str) -> bytes:
        return bytes.fromhex(endpoints.read(rewards, function)[2:])

    return Terms(
        validators=tuple(bytes.fromhex(one[2:]) for one in endpoints.read(rewards, "validators")),
        threshold=endpoints.read(rewards, "status")[4],
        activation_delay_s=endpoints.read(rewards, "activationDelay"),
        min_epoch_interval_s=endpoints.read(rewards, "minEpochInterval"),
        owner=account("owner"),
        guardian=account("guardian"),
        cap_wei=endpoints.read(token, "cap"),
        emits_as_committed=endpoints.read(token, "cap") == parameters.cap_wei
        and endpoints.read(rewards, "emission", 1) == parameters.emission(1),
    )


def creation_arguments(deployer: bytes, settings: DeploySettings) -> tuple[object, ...]:
    """Return `CuriosityRewards.Settings` in order: web3 mistakes the names of a struct for addresses."""
    parameters = settings.parameters
    return (
        parameters.cap_wei,
        parameters.premint_wei,
        to_checksum(settings.treasury or deployer),
        to_checksum(settings.owner or deployer),
        to_checksum(settings.guardian or deployer),
        settings.activation_delay_s,
        settings.min_epoch_interval_s,
        *parameters.epoch_decay,
        [to_checksum(validator) for validator in sorted(settings.validators)],
        settings.threshold,
    )
