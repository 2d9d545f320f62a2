"""Published weights on disk: found or fetched, checked, loaded. Safetensors only: nothing that is read can run code."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from curiosity.embedding.tower_spec import Weights
from curiosity.host.paths import inside
from curiosity.protocol import json_reader
from curiosity.protocol.errors import CheckpointError

CONFIG, PREPROCESSOR, TOKENIZER = "config.json", "preprocessor_config.json", "tokenizer.json"
VIDEO_PREPROCESSOR = "video_preprocessor_config.json"
# What is fetched from the hub: configuration and safetensors, no code and no pickle.
FETCHED = (
    CONFIG, PREPROCESSOR, VIDEO_PREPROCESSOR, TOKENIZER,
    "model.safetensors", "model-*.safetensors", "model.safetensors.index.json",
)  # fmt: skip


def find_folder(weights: Weights) -> Path:
    """Return the folder of published weights: a local one, or what the hub's cache holds or fetches.

    ``weights.name`` is a folder, or a repository with an optional revision after ``@``.

    Raises:
        CheckpointError: PRETRAINED_MISSING, when it is neither here nor can be fetched.
    """
    local = Path(weights.name)
    if local.is_dir():
        return local
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    held = find_fetched(weights.name)
    if held is not None:
        return held
    repository, _, revision = weights.name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=list(FETCHED)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            "PRETRAINED_MISSING",
            f"{weights.name} is not a folder here and was not fetched ({type(error).__name__})",
            "Connect to the internet, or give the folder of a copy: pretrained={'MODALITY': 'FOLDER'}.",
        ) from error


def find_fetched(name: str) -> Path | None:
    """Return the folder where the hub's cache holds a repository; None where it does not. Nothing is fetched."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError, OSError):
        return None


def read_json(folder: Path | None, name: str) -> dict[str, Any]:
    """Return what the JSON file holds; empty when there is no folder or no such file.

    Raises:
        CheckpointError: PRETRAINED_BROKEN, when it is not a JSON object.
    """
    if folder is None:
        return {}
    path = inside(folder, name, one=True, links=True)  # the hub's cache is made of links
    if not path.is_file():
        return {}
    try:
        found = json_reader.read_json(path.read_text("utf-8"))
    except ValueError as error:
        raise _broken(path, error) from error
    if not isinstance(found, dict):
        raise _broken(path, TypeError("not an object"))
    return found


def load_encoder(
    model: type[nn.Module], folder: Path, types: Collection[str], options: Mapping[str, Any], absent: Collection[str]
) -> nn.Module:
    """Return the encoder in ``folder``, float32, in training mode.

    ``types`` are the ``model_type`` values that hold this encoder, ``options`` go to its constructor, ``absent`` are
    names that published weights may lack (a mask token that was never trained keeps its seeded value).

    Raises:
        CheckpointError: PRETRAINED_MISSING, PRETRAINED_NOT_SAFETENSORS, PRETRAINED_BROKEN or PRETRAINED_DIFFERS.
    """
    config = read_json(folder, CONFIG)
    if not config:
        raise CheckpointError(
            "PRETRAINED_MISSING", f"{folder} has no {CONFIG}", "Give the folder that save_pretrained wrote."
        )
    if config.get("model_type") not in types:
        raise CheckpointError(
            "PRETRAINED_DIFFERS",
            f"{folder} holds a {config.get('model_type')!r}, expected {' or '.join(sorted(types))}",
            "Give weights of the architecture that the preset names.",
        )
    if not any(folder.glob("*.safetensors")):
        found = sorted(path.name for path in folder.glob("*.bin")) or ["nothing"]
        raise CheckpointError(
            "PRETRAINED_NOT_SAFETENSORS",
            f"{folder} has no .safetensors file, only {', '.join(found)}; pickled weights can run code and are refused",
            "Convert them where they are trusted: model.save_pretrained(folder, safe_serialization=True).",
        )
    try:
        with _quiet():
            encoder, report = model.from_pretrained(  # type: ignore[attr-defined]
                folder,
                use_safetensors=True,
                local_files_only=True,
                dtype=torch.float32,
                output_loading_info=True,
                # Said here, because a config.json can name one that transformers would fetch from the hub and run.
                attn_implementation="sdpa" if getattr(model, "_supports_sdpa", False) else "eager",
                **options,
            )
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise _broken(folder, error) from error
    except RuntimeError as error:  # how transformers reports shapes that do not fit
        raise _differs(folder, str(error).strip().splitlines()[-1]) from error
    missing = [name for name in sorted(report["missing_keys"]) if not any(part in name for part in absent)]
    if missing:
        raise _differs(folder, f"{len(missing)} tensors are missing, {missing[0]} the first")
    loaded: nn.Module = encoder.train()
    return loaded


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the reports of transformers within the block.

    What its loading says is checked here, and the rest is not news.
    """
    import transformers

    logging: Any = transformers.utils.logging
    verbosity, had_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bar:
            logging.enable_progress_bar()


def _broken(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        "PRETRAINED_BROKEN", f"{path}: {type(error).__name__}: {str(error)[:200]}", "Fetch the weights again."
    )


def _differs(folder: Path, what: str) -> CheckpointError:
    return CheckpointError(
        "PRETRAINED_DIFFERS", f"{folder}: {what}", "Give weights of the architecture that the preset names."
    )
