"""Where a dataset goes: its owner, its name, its title and its licence, as Kaggle takes them.

Source of the rules for names and titles: docs/kaggle.md#datasets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kit.errors import check_fields
from kit.kaggle import facts

DEFAULT_SLUG = "mathllm-kit"
DEFAULT_NOTES = "uploaded by mathllm-kit"
NOBODY = "your-username"
"""Whose a dataset or a notebook is while nobody has said."""


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
        least, most = facts.MIN_NAME_CHARACTERS, facts.MAX_NAME_CHARACTERS
        lengths = f"{least} to {most} characters long"
        check_fields(
            self,
            (
                ("owner", facts.OWNER.fullmatch(self.owner) is not None, "a Kaggle username: a-z, 0-9 and -"),
                ("slug", facts.SLUG.fullmatch(self.slug) is not None, "of a-z, 0-9 and -"),
                ("slug", least <= len(self.slug) <= most, lengths),
                ("title", self.title is None or least <= len(self.title) <= most, lengths),
                ("licence", self.licence in facts.LICENCES, f"one of {', '.join(facts.LICENCES)}"),
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
