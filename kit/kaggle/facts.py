"""What Kaggle and its competition are: every limit, port, path, name and time of theirs, once, with its source.

Nothing else in the kit spells one of them (a test looks). The core has two of them as defaults that a competitor may
change: `kit.budget.BudgetConfig` holds the notebook's time and the number of problems, `kit.problem` the range of
answers. The wire format of `kaggle_evaluation` is in `evaluation_double.protocol`, the texts of the `kaggle` client
are in `upload`.

Sources, named below in short. rules: the competition's pages Overview, Evaluation and Rules. gateway:
kaggle_evaluation 0.9.0, which the competition's data hold (`aimo_3_gateway.py`, `core/relay.py`,
`core/base_gateway.py`, `core/templates.py`). docs: kaggle.com/docs/datasets. client: the package kaggle 2.2.5
(`kaggle_api_extended.py`). cli docs: Kaggle/kaggle-cli at 07bf072. seen: in public notebooks and datasets.
"""

from __future__ import annotations

import re
from pathlib import Path

# --- The competition --------------------------------------------------------------------------------

COMPETITION = "ai-mathematical-olympiad-progress-prize-3"
ANY_AIMO = "ai-mathematical-olympiad"
"""In the slug of every AIMO."""
NUM_PROBLEMS = 50
"""Of the public set and of the private one alike (rules)."""
NOTEBOOK_S = 5 * 3600.0
"""How long a GPU notebook may run, loading and installing included (rules)."""
ACCELERATOR = "NvidiaH100"
"""The client's `machine_shape`; given to notebooks of this competition, without internet, alone (rules; cli docs)."""
ACCELERATORS = {
    ACCELERATOR: "one H100 with 80 GB",
    "NvidiaRtxPro6000": "one RTX PRO 6000",
    "NvidiaL4": "four L4 with 24 GB each",
    "NvidiaL4X1": "one L4 with 24 GB",
    "NvidiaTeslaT4": "two T4 with 16 GB each, the default GPU",
}
"""What `machine_shape` may be on a GPU that is given to contestants (Kaggle/kaggle-cli, kernels.md "as of Sep
2026", and pull request 1198, which says that NvidiaTeslaT4 is T4 x2 and that NvidiaTeslaT4Highmem is Kaggle's own).
That NvidiaL4 is four of them is seen in notebooks of AIMO2, whose machine it was."""
ACCELERATOR_ALIASES = {"NvidiaL4X4": "NvidiaL4", "NvidiaTeslaT4X2": "NvidiaTeslaT4"}
"""Names after the words of the notebook editor, which Kaggle itself does not know: it takes any name without an error,
and gives one P100 for one that it does not know, on which its own torch fails (seen in public repositories from 2025
and 2026, and kaggle-cli issues 821, 1151 and 1196). So the kit sends the name on the right."""
TEST_NAME = "test.csv"  # the problems, as the competition mounts them: id,problem
SUBMISSION_NAME = "submission.parquet"
"""What the gateway writes and Kaggle scores (gateway)."""

# --- kaggle_evaluation: the gateway that asks, and the server in the notebook that answers -------------

EVALUATION_PACKAGE = "kaggle_evaluation"
SERVER_MODULE = "aimo_3_inference_server"
SERVER_CLASS = "AIMO3InferenceServer"
RERUN_VARIABLE = "KAGGLE_IS_COMPETITION_RERUN"
"""Set to anything, even "", during the scored run; then the server blocks for ever (gateway)."""
EVALUATION_PORTS = (50051, *range(60053, 60063))
"""The server takes the first free one, the gateway asks them in this order (gateway)."""
STARTUP_LIMIT_S = 900.0
"""From the gateway's start until a server listens; the first predict may take longer (gateway)."""
ANSWER_DEADLINE_S = 9 * 3600.0
"""For every predict but the first, which has none; AIMO2 had 30 minutes (gateway)."""

# --- A notebook's machine ---------------------------------------------------------------------------

ROOT = Path("/kaggle")
INPUT, WORKING, SCRATCH = "input", "working", "tmp"
"""Below the root: read-only mounts; the output, 20 GB, which is kept; large space that is not, to be made (seen)."""
LIBRARIES = ("lib/kagglegym", "lib")
"""Below the root, first on PYTHONPATH: they come before what a venv installs (seen)."""
DATASETS, COMPETITIONS = "datasets/{owner}/{slug}", "competitions/{slug}"
MODELS = "models/{ref}"
"""Below the inputs, since January to March 2026; before, all were right below by their slug alone, a
model by its ref without the owner (seen)."""
KERNEL_VARIABLE = "KAGGLE_KERNEL_RUN_TYPE"
"""Interactive or Batch, in every notebook (seen)."""

# --- Datasets ---------------------------------------------------------------------------------------

MAX_FILES = 50  # at the top level; the client sends no folders (docs)
MAX_BYTES = 200 * 10**9  # of a dataset, and of all private ones together (docs)
STRIPPED = "+~="  # taken out of file names, as all that is not ASCII (seen)
UNPACKED = (".tar.gz", ".zip", ".tar", ".gz")  # into a folder of the name without the ending (docs)
DATASET_METADATA = "dataset-metadata.json"
KERNEL_METADATA = "kernel-metadata.json"
NOT_UPLOADED = (
    *(DATASET_METADATA, KERNEL_METADATA, "datapackage.json", "model-metadata.json", "model-instance-metadata.json"),
    *(f"dataset-cover-image.{ending}" for ending in ("png", "jpg", "jpeg", "webp")),
)
"""Files of these names the client keeps for itself, without a word (client)."""
MIN_NAME_CHARACTERS, MAX_NAME_CHARACTERS = 6, 50
"""Of a dataset's slug and of its title (client; the docs say 3 to 50)."""
OWNER = re.compile(r"[a-z0-9][a-z0-9-]*")
SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
MODEL_REF = re.compile(r"[\w.-]+/[\w.-]+/[\w.-]+/[\w.-]+/\d+")
"""A version of a Kaggle Model: owner/model/framework/variation/version (cli docs)."""
LICENCES = (
    *("apache-2.0", "CC0-1.0", "CC-BY-3.0", "CC-BY-3.0-IGO", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0"),
    *("CC-BY-ND-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-3.0-IGO", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0"),
    *("GPL-2.0", "GPL-3.0", "LGPL-3.0", "AGPL-3.0", "FDL-1.3", "PDDL", "ODbL-1.0", "DbCL-1.0", "ODC-BY-1.0"),
    *("CDLA-Permissive-1.0", "CDLA-Sharing-1.0", "US-Government-Works", "EU-ODP-Legal-Notice"),
    *("copyright-authors", "other", "unknown"),
)
"""The client sends any name, Kaggle refuses others (cli docs, datasets_metadata.md)."""


def name_on_kaggle(name: str) -> str:
    """What Kaggle makes of a file's name."""
    return "".join(character for character in name if character.isascii() and character not in STRIPPED)


# --- Notebooks that are pushed ------------------------------------------------------------------------

MAX_NOTEBOOK_BYTES = 1_000_000  # roughly (seen)
MIN_KERNEL_CHARACTERS, MAX_KERNEL_CHARACTERS = 5, 50  # of a slug and a title (client)
KERNEL_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
"""Kaggle makes the address from the title's words."""
IMAGE_HAS = ("sympy", "mpmath", "packaging", "rich", "markdown-it-py", "mdurl", "pygments")
"""Of what the kit itself needs, in Kaggle's image in a version that will do (docs/kaggle.md#image)."""
IMAGE = re.compile(r"[\w.-]+(?:/[\w.-]+)+@sha256:[0-9a-f]{64}")  # cli docs, kernels_metadata.md

# --- The site and its credentials ---------------------------------------------------------------------

SITE = "https://www.kaggle.com"
COMPETITION_PAGE = f"{SITE}/competitions/{COMPETITION}"
TOKEN_VARIABLE = "KAGGLE_API_TOKEN"
USERNAME_VARIABLE = "KAGGLE_USERNAME"
KEY_VARIABLE = "KAGGLE_KEY"
CONFIG_VARIABLE = "KAGGLE_CONFIG_DIR"
API_VARIABLE = "KAGGLE_API_ENVIRONMENT"
"""Where the client looks for credentials and for the server (client, `authenticate`)."""
NEW_TOKEN = f"make a token at {SITE}/settings/api and save it as ~/.kaggle/access_token (chmod 600)"
