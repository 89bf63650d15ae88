"""`python -m melv_reader`: the same as the command `melv-reader`."""

import sys

from .cli import main

sys.exit(main(sys.argv[1:]))
