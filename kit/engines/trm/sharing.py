"""A TRM to share: `from_pretrained`, `save_pretrained` and `push_to_hub`, by transformers' own Auto classes.

    register_auto_classes()
    model = AutoModelForCausalLM.from_pretrained("owner/trm")    # the backbone comes from where the TRM says
    model.push_to_hub("owner/other-trm")

What is saved and pushed is the recursion alone, with a model card; its backbone is named by id and by the hash of its
weights, and neither saved nor pushed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Self

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from kit.data.provenance import Provenance, read_provenance, write_provenance
from kit.engines.hub import find_model, is_hub_id
from kit.engines.transformers.loading import load_model
from kit.engines.trm.model_card import CARD, model_card
from kit.errors import InputError, MissingError
from kit.trm import checkpoint
from kit.trm.config import TRMConfig
from kit.trm.language_model import RecursiveLM
from kit.trm.model import TinyRecursiveModel

_AT_INFERENCE = ("depth", "halt_above", "converged_below", "gate_entropy")
_OF_AUTO = ("_from_auto", "adapter_kwargs", "trust_remote_code")  # what the Auto classes add by themselves


class TRMForCausalLM(RecursiveLM):
    """A frozen backbone with its TRM, as a user of transformers opens, saves and pushes one.

    provenance: what the TRM was trained on, where its folder says so.
    """

    config_class = TRMConfig
    provenance: Provenance | None = None

    @classmethod
    def from_pretrained(
        cls,
        named: str | Path,
        *,
        config: TRMConfig | None = None,
        backbone: str | Path | None = None,
        dtype: Any = "auto",
        revision: str | None = None,
        check_hash: bool = True,
        **others: Any,
    ) -> Self:
        """A TRM by its folder or its id on the hub, joined to its backbone, on the CPU and in eval mode.

        config: as the Auto classes read it; what it says of depth and stopping counts. backbone: a folder or an id;
        None: the folder that the TRM names, else the id. revision: of the TRM. check_hash: as kit.trm.checkpoint.load.
        Raises: MissingError for what is not there; InputError for a TRM or backbone that is damaged or does not fit,
            and for settings that are not taken; EngineError where memory does not suffice.
        """
        if unknown := sorted(name for name in others.keys() - set(_OF_AUTO) if others[name] is not None):
            raise InputError(f"from_pretrained does not take {unknown[0]!r} for a TRM; the hub's own variables set it")
        folder = find_model(str(named), revision=revision)
        backbone_folder = _backbone_folder(folder, backbone)
        loaded = load_model(backbone_folder, device="cpu", dtype=str(dtype).removeprefix("torch."))
        changes = {} if config is None else {name: getattr(config, name) for name in _AT_INFERENCE}
        joined = checkpoint.load(folder, loaded, backbone_folder=backbone_folder, check_hash=check_hash, **changes)
        model = cls(joined.backbone, joined.trm)
        model.provenance = read_provenance(folder)
        return model

    def save_pretrained(self, folder: str | Path, *, backbone_id: str | None = None, **_settings: Any) -> None:
        """Write the TRM alone, its model card, and what it was trained on; a card that is there stays.

        backbone_id: the backbone's on the hub; None: as the TRM says. Without any, the backbone's path is kept.
        Raises: InputError for what is no id; StorageError.
        """
        folder, config = Path(folder), self.trm.config
        if backbone_id is not None:
            if not is_hub_id(backbone_id):
                raise InputError(f"backbone_id must be owner/name on the hub, got {backbone_id!r}")
            config.backbone_id = backbone_id
        if config.backbone_id:
            config.backbone_path = ""  # of this machine
        self.trm.save_pretrained(folder)
        if self.provenance is not None:
            write_provenance(folder, self.provenance)
        if not (folder / CARD).exists():
            num_parameters = sum(parameter.numel() for parameter in self.trm.parameters())
            card = model_card(config, self.provenance, num_parameters=num_parameters)
            (folder / CARD).write_text(card, encoding="utf-8")

    def push_to_hub(
        self,
        repo_id: str,
        *,
        backbone_id: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "Upload a Tiny Recursive Model",
    ) -> str:
        """Save into the hub's `repo_id`, which is made if need be; returns the commit's address.

        A card that is there already stays. token: None: as `hf auth login` left it, or HF_TOKEN.
        Raises: InputError where nobody says which backbone it belongs to; MissingError for a hub that does not answer
            or refuses.
        """
        from huggingface_hub import HfApi

        if not (backbone_id or self.trm.config.backbone_id):
            raise InputError("whoever fetches this TRM needs its backbone: give backbone_id='owner/name' on the hub")
        api = HfApi(token=token)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, backbone_id=backbone_id)
            try:
                api.create_repo(repo_id, private=private, exist_ok=True)
                if api.file_exists(repo_id, CARD):
                    (Path(folder) / CARD).unlink()
                pushed = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=commit_message)
            # broad enough for what its HTTP clients raise: no network, no rights, a name that is refused
            except (OSError, ValueError, RuntimeError) as error:
                cause = next(iter(str(error).strip().splitlines()), type(error).__name__)
                raise MissingError(f"{repo_id}: the hub did not take it ({cause}); check `hf auth login`") from error
        return str(pushed)


def register_auto_classes() -> None:
    """Let transformers' Auto classes open a TRM: AutoModel alone, AutoModelForCausalLM on its backbone; repeatable."""
    AutoConfig.register(TRMConfig.model_type, TRMConfig, exist_ok=True)
    AutoModel.register(TRMConfig, TinyRecursiveModel, exist_ok=True)
    AutoModelForCausalLM.register(TRMConfig, TRMForCausalLM, exist_ok=True)


def _backbone_folder(folder: Path, named: str | Path | None) -> Path:
    """The backbone that is named, else the one beside the TRM, else the one on the hub."""
    if named is not None:
        return find_model(str(named))
    config = checkpoint.load_config(folder)
    is_here = config.backbone_path and (folder / config.backbone_path).is_dir()
    return find_model(config.backbone_id) if config.backbone_id and not is_here else checkpoint.find_backbone(folder)
