"""Whether a restored model can be loaded without a network: settings, shards, tokenizer, vocabulary, code.

In: the model's folder under its own names. Out: findings. The weights are not loaded, their headers are read. What a
tokenizer fetches from the internet when it is first used is looked for here, because there it fails only after
minutes of loading (vLLM issue 22525; openai/harmony issue 95).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kit.engines.text import adapter_folder
from kit.engines.text.model_folder import check_model_folder, check_tokenizer_files
from kit.engines.text.rehearsal import LIMIT_S, Step, rehearse
from kit.errors import KitError
from kit.json_text import read_json
from kit.kaggle.dataset import plan
from kit.kaggle.findings import Finding, error, warning
from kit.kaggle.transfer import sha256_of
from kit.models.gpt_oss import VOCABULARY

_RECOPY = "copy the model's folder again from where it came, then build the dataset again"
_ADD = "put it into the model's folder and build the dataset again"
_VOCABULARY_OF_CLASS = {"QWenTokenizer": "qwen.tiktoken", "TikTokenTokenizer": "tiktoken.model"}
"""Tokenizers written for one model, by the file that holds their vocabulary (Qwen 1, Kimi)."""


def check_model(folder: Path) -> tuple[Finding, ...]:
    """All that would keep the model from loading."""
    findings: list[Finding] = []
    for check in (check_model_folder, check_tokenizer_files):
        try:
            check(folder)
        except KitError as fault:
            findings.append(Finding.of(fault, file=str(folder), fix=_RECOPY))
    config, settings = _object(folder / "config.json"), _object(folder / "tokenizer_config.json")
    return (
        *findings,
        *_check_tokenizer(folder, config),
        *_check_vocabulary(folder, config, settings),
        *_check_code(folder / "config.json", config),
        *_check_code(folder / "tokenizer_config.json", settings),
        *_check_template(folder, settings),
    )


def check_chat(folder: Path, *, limit_s: float = LIMIT_S) -> tuple[Finding, ...]:
    """Whether a chat is rendered and encoded in time, tried in a process that can be ended."""
    done = rehearse(folder, limit_s=limit_s)
    if done.step is Step.DONE:
        return ()
    if done.step is Step.IMPORT:
        fix = "verify where transformers is installed, as it is on Kaggle"
        return (warning(folder, f"no chat was rendered: {done.error}", fix),)
    template = folder / "chat_template.jinja"
    file = template if done.step is Step.RENDER and template.is_file() else folder
    return (error(file, f"{done.step.value}: {done.error}", _RECOPY),)


def check_trm(trm: Path, model: Path) -> tuple[Finding, ...]:
    """All that would keep a recursive model from loading on top of `model`; reads all weights."""
    if importlib.util.find_spec("torch") is None:
        fix = "verify where torch is installed, as it is on Kaggle"
        return (warning(trm, "not looked at: there is no torch here", fix),)
    try:
        plan.check_trm(trm, model)
    except KitError as fault:
        return (Finding.of(fault, file=str(trm), fix="build the dataset again with the TRM of this very model"),)
    return ()


def check_adapter(adapter: Path, model: Path) -> tuple[Finding, ...]:
    """All that would keep a LoRA from loading on top of `model`, as far as the headers tell."""
    try:
        adapter_folder.check_adapter(adapter, model)
    except KitError as fault:
        return (Finding.of(fault, file=str(adapter), fix="build the dataset again with an adapter of this very model"),)
    return ()


def _check_tokenizer(folder: Path, config: Mapping[str, Any]) -> Iterator[Finding]:
    path = folder / "tokenizer.json"
    if (folder / "vocab.json").is_file() and not path.is_file() and not (folder / "merges.txt").is_file():
        yield error(folder / "merges.txt", "missing, and vocab.json is of no use without it", _RECOPY)
    if not path.is_file():
        return
    try:
        largest = max(_token_ids(read_json(path.read_bytes())), default=-1)
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        yield error(path, f"not a tokenizer ({fault!r})", _RECOPY)
        return
    size = config.get("vocab_size")
    if isinstance(size, int) and largest >= size:
        yield error(path, f"has token {largest}, the model in config.json knows {size} tokens", _RECOPY)


def _token_ids(tokenizer: Mapping[str, Any]) -> Iterator[int]:
    """Every token's number; the model's vocabulary is a mapping, or for Unigram a list."""
    vocabulary = tokenizer["model"].get("vocab", {})
    yield from vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
    yield from (token["id"] for token in tokenizer.get("added_tokens", ()))


def _check_vocabulary(folder: Path, config: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[Finding]:
    if config.get("model_type") == "gpt_oss":
        name, sha256 = VOCABULARY
        if not (folder / name).is_file():
            yield error(folder / name, "missing; gpt-oss's harmony format would fetch it from the internet", _ADD)
        elif sha256_of(folder / name) != sha256:
            yield error(folder / name, "not the vocabulary that harmony expects, by its SHA-256", _ADD)
    wanted = _VOCABULARY_OF_CLASS.get(str(settings.get("tokenizer_class")))
    if wanted is not None and not (folder / wanted).is_file():
        yield error(folder / wanted, f"missing; {settings['tokenizer_class']} cannot work without it", _ADD)


def _check_code(path: Path, settings: Mapping[str, Any]) -> Iterator[Finding]:
    """The Python files that `auto_map` names: `module.Class`, or `repository--module.Class` from the hub."""
    code = settings.get("auto_map")
    every = code.values() if isinstance(code, dict) else ()
    names = [name for each in every for name in (each if isinstance(each, list) else [each]) if isinstance(name, str)]
    for name in sorted(set(names)):
        repository, _, local = name.rpartition("--")
        file = path.parent / f"{local.partition('.')[0]}.py"
        if repository:
            fix = f"copy {file.name} from {repository} beside it, and write {local!r} instead"
            yield error(path, f"its code {name!r} would be fetched from the hub", fix)
        elif not file.is_file():
            yield error(file, f"missing, {path.name} names it", _RECOPY)


def _check_template(folder: Path, settings: Mapping[str, Any]) -> Iterator[Finding]:
    templates = [*folder.glob("chat_template.*"), *folder.glob("additional_chat_templates/*")]
    if not templates and "chat_template" not in settings:
        fix = "take a model that was trained to chat, or put its chat_template.jinja beside the weights"
        yield warning(folder, "no chat template", fix)


def _object(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file; empty if there is none, which is told elsewhere where it matters."""
    try:
        content = read_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
