"""The sets that are known by a short name: where they come from, their splits, and how their rows are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from kit.data.columns import Rules
from kit.data.examples import AnswerForm


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSet:
    """A set of the field.

    hub_id, config: on the hub. splits: the hub's split for the kit's `train` and `test`.
    """

    name: str
    hub_id: str
    config: str | None = None
    splits: Mapping[str, str]
    rules: Rules


_INTEGERS = Rules(form=AnswerForm.INTEGER)
_EXPRESSIONS = Rules(form=AnswerForm.EXPRESSION)
_BOTH: Mapping[str, str] = MappingProxyType({"train": "train", "test": "test"})
_ONLY_TEST: Mapping[str, str] = MappingProxyType({"test": "test"})
_SERVED_AS_TRAIN: Mapping[str, str] = MappingProxyType({"test": "train"})  # the hub calls an only split `train`

KNOWN: Mapping[str, KnownSet] = MappingProxyType(
    {
        known.name: known
        for known in (
            KnownSet(name="gsm8k", hub_id="openai/gsm8k", config="main", splits=_BOTH, rules=_INTEGERS),
            # hendrycks/competition_math was taken down in January 2025; this is the copy that lighteval reads
            KnownSet(
                name="math", hub_id="DigitalLearningGmbH/MATH-lighteval", config="default", splits=_BOTH,
                rules=_EXPRESSIONS,
            ),
            KnownSet(name="math500", hub_id="HuggingFaceH4/MATH-500", splits=_ONLY_TEST, rules=_EXPRESSIONS),
            KnownSet(
                name="numina", hub_id="AI-MO/NuminaMath-CoT", splits=_BOTH,
                rules=Rules(form=AnswerForm.EXPRESSION, is_mixed=True),
            ),
            KnownSet(name="aime", hub_id="HuggingFaceH4/aime_2024", splits=_SERVED_AS_TRAIN, rules=_INTEGERS),
            # the validation set of AIMO's first winners, from AMC; a file in the competition's form is a CSV
            KnownSet(name="aimo", hub_id="AI-MO/aimo-validation-amc", splits=_SERVED_AS_TRAIN, rules=_INTEGERS),
        )
    }
)  # fmt: skip
