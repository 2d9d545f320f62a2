"""Settings written down: a file for a role, and the page that lists all of them."""

import json
from dataclasses import fields
from pathlib import Path
from textwrap import wrap

from curiosity.host.settings.declare import said_of
from curiosity.host.settings.sections import ROLES, SECTIONS

_WIDTH = 100


def spell(value: object) -> str:
    """Return a setting's value as TOML spells it; what is not set is an empty text."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(spell, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    return json.dumps(str(value) if isinstance(value, str | Path) else "", ensure_ascii=False)


def template(role: str) -> str:
    """Return a settings file for a role: every setting with a sentence, commented out at its default."""
    lines = [
        f"# Settings of Curiosity for a {role}. Remove the # in front of a setting to change it.",
        "# An environment variable CURIOSITY_<SECTION>__<KEY> counts more than this file.",
    ]
    for name in ROLES[role]:
        lines += ["", f"[{name}]"]
        section = SECTIONS[name]
        if section is None:
            lines.append("# No settings: `curiosity trainer run` and `curiosity trainer genesis` take options only.")
            continue
        for field in fields(section):
            lines += [f"## {line}" for line in wrap(said_of(field).sentence, _WIDTH)]
            lines.append(f"# {field.name} = {spell(field.default)}")
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return docs/settings.md: a table of every setting of every section."""
    lines = [
        "# Settings",
        "",
        "<!-- Made by `python -m curiosity.host.settings`; a test compares it with the code. -->",
        "",
        "One TOML file serves every program, with a section each. `curiosity config init --role "
        f"{'|'.join(ROLES)}` writes one with every setting of a role;",
        "`curiosity config show` shows what is in force. An environment variable `CURIOSITY_<SECTION>__<KEY>` counts "
        "more than the file: `CURIOSITY_NODE__CONCURRENCY=4`.",
        "",
        "`curiosity` reads the first that exists of `--config`, `$CURIOSITY_CONFIG`, `./curiosity.toml` and "
        "`~/.config/curiosity/curiosity.toml`;",
        "`curiosity validator run` and `curiosity witness run` read `--config` or `$CURIOSITY_CONFIG`.",
    ]
    for name, section in SECTIONS.items():
        if section is None:
            lines += ["", f"## [{name}]", "", "Has no settings: its programs take options only."]
            continue
        roles = " and ".join(role for role, sections in ROLES.items() if name in sections)
        lines += ["", f"## [{name}]", "", f"For a {roles}.", "", "| setting | default | meaning |", "|---|---|---|"]
        for field in fields(section):
            default = f"`{spell(field.default)}`" if field.default not in ("", None, ()) else "not set"
            lines.append(f"| `{field.name}` | {default} | {said_of(field).sentence.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"
