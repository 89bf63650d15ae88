"""Prints how many bytes of a file's allocated ranges lie in 4 KiB blocks of zeros."""

import sys

from allocated import blocks

print(sum(len(block) for block in blocks(sys.argv[1]) if not any(block)))
