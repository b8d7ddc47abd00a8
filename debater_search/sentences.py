"""Where sentences end."""

import re

# No alternative begins with \s: on long runs of blanks that would take quadratic time.
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n|(?<=[。！？])")
