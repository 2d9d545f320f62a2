"""What of the settings may be shown: no password, no key in a URL."""

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from curiosity.host.settings.declare import said_of
from curiosity.host.settings.loader import PREFIX, check_sections, read_document, read_section
from curiosity.host.settings.sections import SECTIONS
from curiosity.protocol.url import without_userinfo

_UNSHOWN: Final = "set, not shown"


def shown_sections(
    file: Path | None, known: Mapping[str, object], environment: Mapping[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    """Return what may be shown of every section that the file or the environment sets, and of those in ``known``.

    Args:
        file: The settings file, if there is one.
        known: Sections that were read already, by name.
        environment: Variables; those of the process by default.

    Raises:
        ConfigError: As `curiosity.host.settings.loader.read_section`, for any section of the file.
    """
    environment = os.environ if environment is None else environment
    document = read_document(file)
    source = str(file) if file else "the environment"
    check_sections(document, source)
    shown = {}
    for name, section in SECTIONS.items():
        is_set = name in document or any(one.startswith(f"{PREFIX}{name.upper()}__") for one in environment)
        if name in known:
            shown[name] = _section(known[name])
        elif section is not None and is_set:
            shown[name] = _section(read_section(section, name, document, environment, source))
        elif is_set:
            shown[name] = dict.fromkeys(document.get(name, {}), "not read by any program")
    return shown


def _section(settings: object) -> dict[str, Any]:
    return {
        field.name: _plain(getattr(settings, field.name), secret=said_of(field).secret)
        for field in fields(cast(Any, settings))
    }


def _plain(value: object, *, secret: bool) -> Any:
    if isinstance(value, tuple):
        return [_plain(one, secret=secret) for one in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _end_point(str(value)) if secret else without_userinfo(str(value))


def _end_point(url: str) -> str:
    # Scheme, host and port: of a URL's path or query nobody knows which part is a key.
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return _UNSHOWN
    if parts.hostname:
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{parts.scheme}://{host}{port}"
    return _UNSHOWN if url and "://" not in url else url.partition("?")[0]
