"""Do `kit eval` and lm-evaluation-harness draw the same completions, and grade the same text alike?

    lm_eval run --model hf ... --log_samples --output_path LM_OUT
    python -m benchmarks.against_lm_eval RUN LM_OUT/.../samples_TASK_*.jsonl [--model DIR]

Pairs a greedy run with the harness's samples by the question. First the texts: how many are equal, and of each that is
not the class of its difference and where it begins. Then the grades: the harness's own text is read by the kit too, so
that a difference in grading is none of texts. Every difference in a verdict is listed with its class; what is read
differently with the same verdict is counted. The classes are told by rules that look at texts and numbers alone; what
no rule tells is "other".

`--model` runs the model once over each text that parted, one row and no batch, and prints how far apart the two
likeliest tokens are at that place: where rounding decides between them, a batch of another shape does.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from benchmarks.extraction_agreement import rows
from kit.data.examples import MathExample
from kit.errors import InputError
from kit.evaluation.grading import Grader
from kit.evaluation.prompts import PromptStyle, prompt_of, stops_of
from kit.evaluation.reading import read_run
from kit.evaluation.records import Completion, EvalRun, Grade, ReadFrom

STRICT_FILTERS = ("boxed", "strict-match")
LENIENT_FILTERS = ("flexible-extract",)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one of the harness's filters read, and whether it counts as right."""

    read: str
    is_right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Theirs:
    """The harness's sample of one question. verdicts: by filter."""

    question: str
    prompt: str
    text: str
    verdicts: Mapping[str, Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One problem in both harnesses. regraded: the kit's strict and lenient grade of the harness's text."""

    example: MathExample
    ours: Completion
    theirs: Theirs
    style: PromptStyle
    regraded: tuple[Grade, Grade]


class TextDifference(StrEnum):
    """How two completions of one question differ; the first that applies."""

    NONE = "equal"
    SPACE = "equal but for white space at the ends"
    STOP = "equal up to the stop text, which the kit keeps and the harness cuts off"
    PROMPT = "the prompts differ: the kit's reader writes plain quotes and signs where the set does not"
    LONGER = "one goes on where the other ends"
    PARTED = "the same prompt, and other tokens from some place on"


# ---------------------------------------------------------------------------------------------- pairing


def samples_in(lines: Iterable[Mapping[str, Any]]) -> dict[str, Theirs]:
    """The samples by question, out of one row a filter.

    Raises: InputError for a row without what `--log_samples` writes.
    """
    found: dict[str, Theirs] = {}
    for number, row in enumerate(lines, start=1):
        try:
            doc = row["doc"]
            question = doc.get("question") or doc["problem"]
            verdict = Verdict(str(row["filtered_resps"][0]), bool(row["exact_match"]))
            before = found[question].verdicts if question in found else {}
            found[question] = Theirs(
                question=question,
                prompt=_first(row["arguments"]),
                text=row["resps"][0][0],
                verdicts={**before, str(row["filter"]): verdict},
            )
        except (KeyError, IndexError, TypeError) as error:
            raise InputError(f"row {number}: no sample of lm_eval --log_samples ({error!r})") from error
    return found


def _first(arguments: Any) -> str:
    """The prompt of a request: lists in memory, objects `gen_args_0`, `arg_0` in the file."""
    request = arguments["gen_args_0"] if isinstance(arguments, Mapping) else arguments[0]
    return str(request["arg_0"] if isinstance(request, Mapping) else request[0])


def pairs_of(run: EvalRun, samples: Mapping[str, Theirs], grader: Grader) -> list[Pair]:
    """Those questions that both have, in the run's order; of several samples a problem the first."""
    style = PromptStyle(run.head["prompt"]["style"])
    first = {each.problem: each for each in reversed(run.completions)}
    pairs = []
    for example in run.examples:
        theirs = samples.get(example.as_written or example.problem.text)
        ours = first.get(example.problem.key)
        if theirs is not None and ours is not None:
            regraded = grader.grade(theirs.text, example)
            pairs.append(Pair(example=example, ours=ours, theirs=theirs, style=style, regraded=regraded))
    return pairs


# ------------------------------------------------------------------------------------------------ texts


def text_difference(pair: Pair) -> TextDifference:
    """The class of the difference between the two completions."""
    ours, theirs = pair.ours.sample.text, pair.theirs.text
    if ours == theirs:
        return TextDifference.NONE
    if ours.strip() == theirs.strip():
        return TextDifference.SPACE
    if cut_at_stop(ours, stops_of(pair.style)).strip() == theirs.strip():
        return TextDifference.STOP
    if not has_same_prompt(pair):
        return TextDifference.PROMPT
    begin = first_difference(ours.strip(), theirs.strip())
    if begin == min(len(ours.strip()), len(theirs.strip())):
        return TextDifference.LONGER
    return TextDifference.PARTED


def cut_at_stop(text: str, stops: Sequence[str]) -> str:
    """The text before the first stop text in it, as the harness cuts it."""
    for stop in stops:
        text = text.split(stop)[0]
    return text


def has_same_prompt(pair: Pair) -> bool:
    """Whether the harness's prompt holds what the kit asks: as its end, or each turn within its chat template's text.

    The worked examples of a raw prompt are not compared, since a run keeps their number and not their texts.
    """
    asked = prompt_of(pair.example, pair.style)
    if asked.text:
        return pair.theirs.prompt.endswith(asked.text)
    return all(message.content in pair.theirs.prompt for message in asked.messages)


def first_difference(one: str, other: str) -> int:
    """The length of what both begin with, in characters."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


# --------------------------------------------------------------------------------------------- verdicts


@dataclass(frozen=True, slots=True)
class Reading:
    """The kit's and a filter's reading of one text: the harness's."""

    ours: Grade
    theirs: Verdict
    name: str

    @property
    def is_same_verdict(self) -> bool:
        """Whether both call it right, or both wrong."""
        return self.ours.is_right is self.theirs.is_right

    @property
    def is_same_answer(self) -> bool:
        """Whether both read one answer, or none."""
        read = answer_of(self.theirs.read)
        return read == self.ours.answer


def readings_of(pair: Pair) -> Iterator[Reading]:
    """Strict beside the filters that want a form, lenient beside the one that takes the last number."""
    strict, lenient = pair.regraded
    for name, verdict in pair.theirs.verdicts.items():
        if name in STRICT_FILTERS:
            yield Reading(strict, verdict, name)
        elif name in LENIENT_FILTERS:
            yield Reading(lenient, verdict, name)


INVALID = "[invalid]"
"""What the harness's regex filters give where nothing matches."""

_IGNORED = re.compile(r"[,$]|(?s:.*)#### |\.$")  # of the task's regexes_to_ignore, before texts are compared


def answer_of(read: str) -> str | None:
    """What a filter read, as the harness's exact match compares it; None for nothing."""
    return None if read == INVALID else _IGNORED.sub("", read)


def reason(reading: Reading) -> str:
    """The class of a difference in what was read, from the two readings alone."""
    return next((told for told, holds in _classes(reading) if holds), "other")


def _classes(reading: Reading) -> Iterator[tuple[str, bool]]:
    ours, read = reading.ours, answer_of(reading.theirs.read)
    is_strict = reading.name in STRICT_FILTERS
    is_number = read is not None and re.fullmatch(r"-?\d*\.?\d+", read) is not None
    yield "stated without the form that their filter wants: the kit reads it, they do not", is_strict and read is None
    yield "they match the form, the kit reads nothing there", is_strict and ours.answer is None
    yield "they find no number, the kit does", read is None
    yield "what they take is no number (punctuation, a unit, a formula)", not is_number
    yield "one number, written as a decimal (18.00), is other text for them", _is_equal(ours.answer, read)
    yield "the last number is no integer: they take it, lenient refuses", ours.answer is None and not _is_whole(read)
    is_sign = ours.answer is not None and ours.answer.lstrip("-") == (read or "").lstrip("-")
    yield "the sign: a minus between numbers is one for them", is_sign
    yield (
        "the kit takes the boxed or stated answer, they the text's last number",
        not is_strict and ours.read_from in (ReadFrom.BOXED, ReadFrom.STATED),
    )
    yield "the kit takes the statement after the box, they the box", is_strict and ours.read_from is ReadFrom.STATED
    yield "pieces of one number (1 000, 3/4) are read apart", ours.read_from is ReadFrom.LAST_INTEGER


def _is_equal(answer: str | None, read: str | None) -> bool:
    try:
        return answer is not None and read is not None and float(answer) == float(read)
    except (ValueError, OverflowError):
        return False


def _is_whole(read: str | None) -> bool:
    return read is not None and re.fullmatch(r"-?\d+", read) is not None


# ------------------------------------------------------------------------------------------------- ties


Margins = Callable[[str, str, str], str]
"""A prompt and two completions of it in; how far below the likeliest token those lie with which they part."""


def margins_by(folder: Path) -> Margins:
    """The model of a folder, as what measures margins: one forward pass of one row for each pair of texts."""
    import torch

    from kit.engines.text.tokenizer import load_tokenizer
    from kit.engines.transformers.loading import load_model

    model, tokenizer = load_model(folder, device="cpu", dtype="float32"), load_tokenizer(folder)

    def measured(prompt: str, ours: str, theirs: str) -> str:
        one, other = (tokenizer.encode(prompt + text, add_special_tokens=False) for text in (ours, theirs))
        end_id = tokenizer.eos_token_id
        place = next(
            (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
        )
        tokens = [ids[place] if place < len(ids) else end_id for ids in (one, other)]
        with torch.inference_mode():
            logits_V = model(input_ids=torch.tensor([one[:place]]), logits_to_keep=1).logits[0, -1].float()
        top = float(logits_V.max())
        names = " and ".join(f"{tokenizer.decode([token])!r} {float(logits_V[token]) - top:+.5f}" for token in tokens)
        return f"token {place}: below the likeliest by {names}"

    return measured


# ---------------------------------------------------------------------------------------------- the tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("samples", type=Path, nargs="+")
    parser.add_argument("--model", type=Path)
    args = parser.parse_args()
    run, samples = read_run(args.run), samples_in(row for path in args.samples for row in rows(path))
    with Grader() as grader:
        pairs = pairs_of(run, samples, grader)
    if not pairs:
        raise SystemExit(f"{args.run} and the {len(samples)} samples have no question in common")
    print(f"{len(pairs)} questions are in both ({len(run.completions)} completions, {len(samples)} samples)")
    print_texts(pairs, None if args.model is None else margins_by(args.model))
    print_verdicts(pairs)


def print_texts(pairs: Sequence[Pair], margins: Margins | None) -> None:
    """A row a class, then where each text that parted does."""
    classes = Counter(map(text_difference, pairs))
    print("\n| texts | problems | share |\n|---|---:|---:|")
    for told in TextDifference:
        print(f"| {told} | {classes[told]} | {classes[told] / len(pairs):.1%} |")
    for pair in pairs:
        told = text_difference(pair)
        if told in (TextDifference.NONE, TextDifference.SPACE, TextDifference.STOP):
            continue
        ours, theirs = pair.ours.sample.text, pair.theirs.text
        begin = first_difference(ours, theirs)
        print(f"\n{pair.example.problem.id}: {told}; from character {begin} of {len(ours)} and {len(theirs)}:")
        print(f"  kit     {ours[begin : begin + 60]!r}\n  lm_eval {theirs[begin : begin + 60]!r}")
        if margins is not None and told is not TextDifference.PROMPT:
            print(f"  {margins(pair.theirs.prompt, ours, theirs)}", flush=True)


def print_verdicts(pairs: Sequence[Pair]) -> None:
    """How many each harness calls right, then every difference in grading the harness's own texts."""
    print("\n| grade | texts of | right | nothing read |\n|---|---|---:|---:|")
    for name, place in (("kit strict", 0), ("kit lenient", 1)):
        own = [(pair.ours.strict, pair.ours.lenient)[place] for pair in pairs]
        for whose, grades in (("kit", own), ("lm_eval", [pair.regraded[place] for pair in pairs])):
            print(f"| {name} | {whose} | {sum(e.is_right for e in grades)} | {sum(e.answer is None for e in grades)} |")
    for name in dict.fromkeys(name for pair in pairs for name in pair.theirs.verdicts):
        found = [pair.theirs.verdicts[name] for pair in pairs if name in pair.theirs.verdicts]
        nothing = sum(answer_of(each.read) is None for each in found)
        print(f"| lm_eval {name} | lm_eval | {sum(each.is_right for each in found)} | {nothing} |")
    readings = [(pair, reading) for pair in pairs for reading in readings_of(pair)]
    silent = Counter(
        (reading.name, reason(reading))
        for _, reading in readings
        if reading.is_same_verdict and not reading.is_same_answer
    )
    print("\n| filter | read differently with the same verdict | texts |\n|---|---|---:|")
    for (name, told), count in silent.most_common():
        print(f"| {name} | {told} | {count} |")
    differing = [(pair, reading) for pair, reading in readings if not reading.is_same_verdict]
    print(f"\n{len(differing)} differences in grading, of {len(readings)} texts and filters")
    for pair, reading in differing:
        print(
            f"  {pair.example.problem.id}, {reading.name}: {reason(reading)}: gold {pair.example.gold!r}, the kit "
            f"reads {reading.ours.answer!r} ({reading.ours.read_from}), they {reading.theirs.read!r}"
        )


if __name__ == "__main__":
    main()
