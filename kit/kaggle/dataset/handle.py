"""Where a dataset goes: its owner, its name, its title and its licence, as Kaggle takes them.

Source of the rules for names and titles: docs/kaggle.md#datasets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kit.errors import check_fields

DEFAULT_SLUG = "mathllm-kit"
DEFAULT_NOTES = "uploaded by mathllm-kit"
LICENCES = (
    *("apache-2.0", "CC0-1.0", "CC-BY-3.0", "CC-BY-3.0-IGO", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0"),
    *("CC-BY-ND-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-3.0-IGO", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0"),
    *("GPL-2.0", "GPL-3.0", "LGPL-3.0", "AGPL-3.0", "FDL-1.3", "PDDL", "ODbL-1.0", "DbCL-1.0", "ODC-BY-1.0"),
    *("CDLA-Permissive-1.0", "CDLA-Sharing-1.0", "US-Government-Works", "EU-ODP-Legal-Notice"),
    *("copyright-authors", "other", "unknown"),
)  # Source: github.com/Kaggle/kaggle-cli at 07bf072, docs/datasets_metadata.md; the client sends any, Kaggle not all
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_OWNER = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetHandle:
    """Where a dataset goes. owner: a username or organisation. title: the slug's words if None.

    is_public: for a new dataset; a version of one that is there keeps its visibility.
    """

    owner: str
    slug: str = DEFAULT_SLUG
    title: str | None = None
    licence: str = "other"
    is_public: bool = False
    notes: str = DEFAULT_NOTES

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                ("owner", _OWNER.fullmatch(self.owner) is not None, "a Kaggle username: a-z, 0-9 and -"),
                ("slug", _SLUG.fullmatch(self.slug) is not None, "of a-z, 0-9 and -"),
                ("slug", 6 <= len(self.slug) <= 50, "6 to 50 characters long"),
                ("title", self.title is None or 6 <= len(self.title) <= 50, "6 to 50 characters long"),
                ("licence", self.licence in LICENCES, f"one of {', '.join(LICENCES)}"),
                ("notes", bool(self.notes.strip()), "some text"),
            ),
        )

    @classmethod
    def parse(cls, ref: str) -> DatasetHandle:
        """The handle of `owner/slug`. Raises: InputError for what is no owner, or no name of a dataset."""
        owner, _, slug = ref.partition("/")
        return cls(owner=owner, slug=slug)

    @property
    def ref(self) -> str:
        """Owner and slug, as Kaggle writes them."""
        return f"{self.owner}/{self.slug}"

    @property
    def metadata(self) -> Mapping[str, object]:
        """The client's dataset-metadata.json."""
        title = self.title or self.slug.replace("-", " ")
        return {"id": self.ref, "title": title, "licenses": [{"name": self.licence}]}
