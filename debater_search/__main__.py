"""`python -m debater_search`: the `debater` command."""

import sys

from debater_search.cli import main

sys.exit(main())
