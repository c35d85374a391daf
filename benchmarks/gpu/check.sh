#!/bin/bash
# What must hold on a GPU, in one table: benchmarks/gpu/README.md says what the lines are and where the wheels come from.
#
#   benchmarks/gpu/check.sh [--wheels DIR] [--cpu] [--vllm-python PYTHON] [NAME ...]
#
# --wheels: an environment is made from this folder, by uv if there is one, else by pip; no index is asked. Without it
#   the lines run in PYTHON (default: python3) as it is, and those of vLLM only where it has vLLM.
# --cpu: the same lines on a CPU, as far as they go there. NAME: only these lines.
# Exit status: 0 if no line failed. Nothing is written outside a temporary folder, which goes at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."

device=cuda wheels="" vllm="" names=()
while (($#)); do
  case "$1" in
    --wheels) wheels="${2:?--wheels needs a folder}"; shift ;;
    --vllm-python) vllm="${2:?--vllm-python needs an interpreter}"; shift ;;
    --cpu) device=cpu ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "check.sh: no option $1; see --help" >&2; exit 2 ;;
    *) names+=("$1") ;;
  esac
  shift
done

python="${PYTHON:-python3}"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

if [[ -n $wheels ]]; then
  found=("$wheels"/*.whl)
  [[ -e ${found[0]} ]] || { echo "check.sh: no wheels in $wheels; benchmarks/gpu/README.md says how to get them" >&2; exit 2; }
  "$python" -m venv --without-pip "$scratch/env"
  if command -v uv > /dev/null; then
    uv pip install --quiet --offline --no-deps --python "$scratch/env/bin/python" "${found[@]}"
  else
    "$python" -m pip --python "$scratch/env/bin/python" install --quiet --no-index --no-deps --no-compile "${found[@]}"
  fi
  python="$scratch/env/bin/python"
  unset PYTHONPATH  # the folder's wheels and nothing else
  # The checkout as a package, so that vLLM finds the plugin: by its path and its entry points.
  "$python" - "$PWD" <<'PYTHON'
import sys, sysconfig, tomllib
from pathlib import Path

repo, site = Path(sys.argv[1]), Path(sysconfig.get_path("purelib"))
project = tomllib.loads((repo / "pyproject.toml").read_text())["project"]
info = site / "kit_checkout-0.dist-info"
info.mkdir()
(info / "METADATA").write_text("Metadata-Version: 2.1\nName: kit-checkout\nVersion: 0\n")
groups = ([f"[{group}]", *(f"{name} = {place}" for name, place in points.items())] for group, points in project["entry-points"].items())
(info / "entry_points.txt").write_text("\n".join(line for group in groups for line in group) + "\n")
(site / "kit_checkout.pth").write_text(f"{repo}\n")
PYTHON
fi

if [[ -z $vllm ]] && "$python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("vllm") is None)'; then
  vllm="$("$python" -c 'import sys; print(sys.executable)')"
fi
"$python" -m benchmarks.gpu.check --device "$device" ${vllm:+--vllm-python "$vllm"} ${names[@]+"${names[@]}"}
