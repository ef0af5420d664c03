"""`python -m facelearn`, and what `torchrun -m facelearn` starts."""

import sys

from facelearn.cli import main

sys.exit(main())
