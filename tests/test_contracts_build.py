"""The committed ABI and bytecode are what the sources give, and the build says clearly why it cannot."""

import json
import shutil
from pathlib import Path

import pytest

from contracts import build
from curiosity.protocol.errors import ChainError

needs_node = pytest.mark.skipif(
    shutil.which("node") is None, reason="node is absent: the committed bytecode is not compared with its sources"
)


@pytest.fixture(scope="module")
def built() -> dict[str, str]:
    return build.build_artifacts()


@needs_node
def test_a_rebuild_gives_the_committed_bytes(built: dict[str, str]) -> None:
    assert set(built) == {f"{name}.json" for name in build.CONTRACTS}
    assert build.compare_artifacts(built, build.ROOT / build.ABI_DIR) == []


@needs_node
def test_the_check_finds_stale_missing_and_stray_files(
    built: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in built.items():
        (tmp_path / name).write_text(text)
    assert build.compare_artifacts(built, tmp_path) == []
    stale = json.loads(built["CuriosityToken.json"])
    stale["bytecode"] = stale["bytecode"][:-2] + "00"
    (tmp_path / "CuriosityToken.json").write_text(build.render_artifact(stale))
    (tmp_path / "CuriosityRewards.json").unlink()
    (tmp_path / "Stray.json").write_text("{}")
    assert build.compare_artifacts(built, tmp_path) == ["CuriosityRewards.json", "CuriosityToken.json", "Stray.json"]
    monkeypatch.setattr(build, "ABI_DIR", tmp_path)
    monkeypatch.setattr(build, "build_artifacts", lambda: built)
    assert build.main(["--check"]) == 11
    assert "ABI_STALE: 3 of 5 files differ" in capsys.readouterr().err
    (tmp_path / "Stray.json").unlink()
    assert build.main([]) == 0
    assert build.main(["--check"]) == 0
    assert "5 artifacts match" in capsys.readouterr().out


def test_artifacts_name_their_compiler_and_no_machine() -> None:
    for name in build.CONTRACTS:
        text = (build.ROOT / build.ABI_DIR / f"{name}.json").read_text()
        artifact = json.loads(text)
        assert artifact["compiler"].startswith("0.8.37+")
        assert artifact["settings"]["evmVersion"] == "cancun"
        assert str(build.ROOT) not in text
        # EIP-170: a larger contract cannot be deployed.
        assert len(artifact["deployedBytecode"]) // 2 - 1 <= 24_576


@needs_node
def test_a_broken_source_gives_the_compilers_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "node_modules").symlink_to(build.ROOT / "node_modules")
    source = tmp_path / "Broken.sol"
    source.write_text("// SPDX-License-Identifier: MIT\npragma solidity 0.8.37;\ncontract Broken { uint256 x = ; }\n")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    with pytest.raises(ChainError) as failure:
        build.compile_contracts([Path("Broken.sol")])
    assert failure.value.code == "SOLC_FAILED"
    assert "ParserError" in failure.value.what
    # A warning is a failure too.
    source.write_text(
        "// SPDX-License-Identifier: MIT\npragma solidity 0.8.37;\n"
        "contract Broken { function f() public pure { uint256 x; } }\n"
    )
    with pytest.raises(ChainError) as failure:
        build.compile_contracts([Path("Broken.sol")])
    assert "Warning" in failure.value.what
    source.write_text('import {A} from "./Missing.sol";\n')
    with pytest.raises(ChainError) as failure:
        build.resolve_sources([Path("Broken.sol")])
    assert failure.value.code == "CONTRACT_SOURCE_MISSING"
    assert "Missing.sol" in failure.value.what


def test_without_node_the_build_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(build, "find_node", lambda: None)
    assert build.main([]) == 11
    assert "SOLC_MISSING: node is absent" in capsys.readouterr().err
