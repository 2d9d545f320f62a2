"""``python -m curiosity.host.settings > docs/settings.md``."""

import sys

from curiosity.host.settings.write import page

sys.stdout.write(page())
