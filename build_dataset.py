"""Build the Kaggle dataset: `python build_dataset.py --out DIR [--model DIR] [--trm DIR] [--wheels TARGET]`.

The same as `kit build`.
"""

import sys

from kit.cli import main

if __name__ == "__main__":
    sys.exit(main(["build", *sys.argv[1:]]))
