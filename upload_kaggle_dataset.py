"""Upload the built dataset: `python upload_kaggle_dataset.py --username NAME [--slug …] [--no-upload] [--public]`."""

import sys

from kit.cli import main

if __name__ == "__main__":
    sys.exit(main(["upload", *sys.argv[1:]]))
