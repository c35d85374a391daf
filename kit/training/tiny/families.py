"""Families of generated problems: LaTeX text, an integer answer 0-99999, and the steps to it.

In: a `random.Random` and a difficulty. Out: an `Exercise`. The same generator state gives the
same exercise on every machine.

Two kinds of family:

* WORKED: the solution shows short steps. Every line but the last is a chain of equalities that
  are all true integer arithmetic; the last line is the boxed answer. Sampling such a solution
  goes wrong now and then and in many ways, so voting shows here.
* AT_ONCE: the solution is the boxed answer alone, and the difficulty is the number of steps that
  depend on each other. Depth of computation, not length of text, is what such an answer needs.

Train and test are disjoint by construction: a hash of the problem's text decides its split
(`split_of`), and `draw` redraws until the text falls into the split that was asked for.

Not here: prompts, tokens, anything with torch. Source of the AT_ONCE kind: a single cycle allows
no shortcut, since k steps of it cannot be told from fewer by the cycle's length.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kit.errors import InputError

TEST_SHARE = 1 / 16  # of all problem texts, by their hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercise:
    """One generated problem with its worked solution; the answer is an integer 0-99999.

    results: of an exercise answered at once, what each of its dependent steps gives, the answer last; else empty.
    """

    family: str
    difficulty: int
    problem: str
    solution: str
    answer: int
    results: tuple[int, ...] = ()


Generator = Callable[[random.Random, int], Exercise]


class Split(StrEnum):
    """Which half of the world a problem's text belongs to."""

    TRAIN = "train"
    TEST = "test"


def split_of(problem: str) -> Split:
    """The split of a problem text: TEST for `TEST_SHARE` of all texts, by SHA-256."""
    first_bytes = hashlib.sha256(problem.encode()).digest()[:4]
    return Split.TEST if int.from_bytes(first_bytes) < TEST_SHARE * 2**32 else Split.TRAIN


def draw(family: str, rng: random.Random, *, difficulty: int, split: Split) -> Exercise:
    """An exercise of that family, difficulty and split.

    Raises: InputError for an unknown family, or a difficulty that the family does not have.
    """
    if family not in FAMILIES:
        raise InputError(f"unknown family {family!r}; there are {', '.join(FAMILIES)}")
    if difficulty not in DIFFICULTIES[family]:
        raise InputError(f"{family} has difficulties {DIFFICULTIES[family]}, got {difficulty}")
    while True:
        exercise = FAMILIES[family](rng, difficulty)
        if split_of(exercise.problem) is split:
            return exercise


# --- worked families -------------------------------------------------------------------------


def affine(rng: random.Random, difficulty: int) -> Exercise:
    """The `difficulty`-th iterate of x -> (a x + b) mod m."""
    modulus = rng.randint(5, 19)
    factor, shift = rng.randint(2, 9), rng.randint(1, 9)
    start = value = rng.randrange(1, modulus)
    steps = []
    for _ in range(difficulty):
        image = factor * value + shift
        steps.append(rf"{factor}\cdot{value}+{shift}={_division(image, modulus)}")
        value = image % modulus
    problem = (
        f"Let $x_0={start}$ and let $x_{{n+1}}$ be the remainder when ${factor}x_n+{shift}$ "
        f"is divided by ${modulus}$. Find $x_{{{difficulty}}}$."
    )
    return _worked("affine", difficulty, problem, steps, value)


def power(rng: random.Random, difficulty: int) -> Exercise:
    """The remainder of a^k on division by m, with k = difficulty + 1 multiplied out step by step."""
    modulus = rng.randint(5, 29)
    base = rng.randint(2, min(modulus - 1, 9))
    exponent = difficulty + 1
    value = base
    steps = []
    for _ in range(exponent - 1):
        steps.append(rf"{value}\cdot{base}={_division(value * base, modulus)}")
        value = value * base % modulus
    addend = rng.randint(1, 9)
    steps.append(f"{value}+{addend}={_division(value + addend, modulus)}")
    problem = f"Find the remainder when ${base}^{{{exponent}}}+{addend}$ is divided by ${modulus}$."
    return _worked("power", difficulty, problem, steps, (value + addend) % modulus)


def series(rng: random.Random, difficulty: int) -> Exercise:
    """The sum of an arithmetic series of 3 * difficulty + 1 to 3 * difficulty + 3 terms."""
    num_terms = 3 * difficulty + rng.randint(1, 3)
    first, gap = rng.randint(1, 20), rng.randint(2, 9)
    rise = (num_terms - 1) * gap
    last = first + rise
    ends = first + last
    steps = [
        rf"{num_terms - 1}\cdot{gap}={rise}",
        f"{first}+{rise}={last}",
        f"{first}+{last}={ends}",
        rf"{ends}\cdot{num_terms}={ends * num_terms}",
        f"{ends * num_terms}/2={ends * num_terms // 2}",
    ]
    problem = (
        f"Find the sum of the first ${num_terms}$ terms of the arithmetic sequence "
        f"${first}, {first + gap}, {first + 2 * gap}, \\dots$"
    )
    return _worked("series", difficulty, problem, steps, ends * num_terms // 2)


def gcd(rng: random.Random, difficulty: int) -> Exercise:
    """A greatest common divisor that takes `difficulty` + 1 of Euclid's divisions."""
    large, small = _euclid_pair(rng, num_divisions=difficulty + 1, limit=199)
    steps = _euclid_steps(large, small)
    return _worked("gcd", difficulty, rf"Find $\gcd({large},{small})$.", steps, math.gcd(large, small))


def lcm(rng: random.Random, difficulty: int) -> Exercise:
    """A least common multiple by way of `difficulty` of Euclid's divisions."""
    while True:
        large, small = _euclid_pair(rng, num_divisions=difficulty, limit=99)
        divisor = math.gcd(large, small)
        if small // divisor <= 9:
            break
    cofactor = small // divisor
    steps = [
        *_euclid_steps(large, small),
        f"{small}/{divisor}={cofactor}",
        rf"{large}\cdot{cofactor}={large * cofactor}",
    ]
    problem = rf"Find $\operatorname{{lcm}}({large},{small})$."
    return _worked("lcm", difficulty, problem, steps, large * cofactor)


def digits(rng: random.Random, difficulty: int) -> Exercise:
    """The sum of the squares of the digits of a number of `difficulty` + 2 digits."""
    number = rng.randrange(10 ** (difficulty + 1), 10 ** (difficulty + 2))
    total = 0
    steps = []
    for digit in map(int, str(number)):
        steps.append(f"{total}+{digit}^2={total}+{digit**2}={total + digit**2}")
        total += digit**2
    problem = f"Find the sum of the squares of the digits of ${number}$."
    return _worked("digits", difficulty, problem, steps, total)


def multiples(rng: random.Random, difficulty: int) -> Exercise:
    """How many of 1, ..., N are divisible by a or b, for N up to 60 * difficulty."""
    a, b = rng.choice([(a, b) for b in range(3, 10) for a in range(2, b) if math.gcd(a, b) == 1])
    limit = rng.randint(max(a * b, 60 * difficulty - 59), max(a * b, 60 * difficulty) + 9)
    by_a, by_b, by_both = limit // a, limit // b, limit // (a * b)
    steps = [
        *(rf"{limit}={_division_terms(limit, divisor)}" for divisor in (a, b)),
        rf"{a}\cdot{b}={a * b}",
        rf"{limit}={_division_terms(limit, a * b)}",
        f"{by_a}+{by_b}={by_a + by_b}",
        f"{by_a + by_b}-{by_both}={by_a + by_b - by_both}",
    ]
    problem = f"How many integers from $1$ to ${limit}$ are divisible by ${a}$ or ${b}$?"
    return _worked("multiples", difficulty, problem, steps, by_a + by_b - by_both)


def committee(rng: random.Random, difficulty: int) -> Exercise:
    """Ways to choose 2 of n boys and 1 of m girls, for n and m growing with the difficulty."""
    num_boys = rng.randint(3 + 2 * difficulty, 8 + 2 * difficulty)
    num_girls = rng.randint(2, 9 + 2 * difficulty)
    ordered = num_boys * (num_boys - 1)
    steps = [
        rf"{num_boys}\cdot{num_boys - 1}={ordered}",
        f"{ordered}/2={ordered // 2}",
        rf"{ordered // 2}\cdot{num_girls}={ordered // 2 * num_girls}",
    ]
    problem = (
        f"A club has ${num_boys}$ boys and ${num_girls}$ girls. In how many ways can $2$ boys and $1$ girl be chosen?"
    )
    return _worked("committee", difficulty, problem, steps, ordered // 2 * num_girls)


# --- families answered at once ---------------------------------------------------------------


def table(rng: random.Random, difficulty: int) -> Exercise:
    """The image of s after `difficulty` steps of a map on 1, ..., 8 that is one single cycle."""
    cycle = rng.sample(range(1, 9), 8)
    pairs = list(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    rng.shuffle(pairs)
    position = rng.randrange(8)
    arrows = ";".join(rf"{source}\to{image}" for source, image in pairs)
    problem = f"A map: ${arrows}$. Start at ${cycle[position]}$ and apply the map ${difficulty}$ times. Answer at once."
    return _at_once("table", problem, [cycle[(position + step) % 8] for step in range(1, difficulty + 1)])


def chain(rng: random.Random, difficulty: int) -> Exercise:
    """The result of `difficulty` additions and multiplications modulo 7, one after the other."""
    start = value = rng.randrange(7)
    steps, results = [], []
    for _ in range(difficulty):
        if rng.random() < 0.5:
            operand = rng.randint(1, 6)
            value = (value + operand) % 7
            steps.append(f"+{operand}")
        else:
            operand = rng.randint(2, 6)
            value = value * operand % 7
            steps.append(rf"\cdot{operand}")
        results.append(value)
    problem = f"Modulo $7$, start at ${start}$ and do ${';'.join(steps)}$ in turn. Answer at once."
    return _at_once("chain", problem, results)


WORKED: Mapping[str, Generator] = {
    generate.__name__: generate for generate in (affine, power, series, gcd, lcm, digits, multiples, committee)
}
AT_ONCE: Mapping[str, Generator] = {generate.__name__: generate for generate in (table, chain)}
FAMILIES: Mapping[str, Generator] = {**WORKED, **AT_ONCE}

DIFFICULTIES: Mapping[str, range] = {
    **dict.fromkeys(WORKED, range(1, 5)),
    **dict.fromkeys(AT_ONCE, range(1, 9)),
}


# --- parts of a solution ---------------------------------------------------------------------


def _worked(family: str, difficulty: int, problem: str, steps: Sequence[str], answer: int) -> Exercise:
    solution = "\n".join([*steps, rf"\boxed{{{answer}}}"])
    return Exercise(family=family, difficulty=difficulty, problem=problem, solution=solution, answer=answer)


def _at_once(family: str, problem: str, results: Sequence[int]) -> Exercise:
    exercise = _worked(family, len(results), problem, (), results[-1])
    return replace(exercise, results=tuple(results))


def _division(number: int, divisor: int) -> str:
    """`number`, and after an equals sign its quotient times `divisor` plus its remainder."""
    return f"{number}={_division_terms(number, divisor)}"


def _division_terms(number: int, divisor: int) -> str:
    return rf"{number // divisor}\cdot{divisor}+{number % divisor}"


def _euclid_pair(rng: random.Random, *, num_divisions: int, limit: int) -> tuple[int, int]:
    """Two numbers up to `limit`, the larger first, on which Euclid needs `num_divisions` divisions."""
    while True:
        small, large = 0, rng.randint(1, 20)
        for index in range(num_divisions):
            quotient = rng.randint(2 if index == 0 else 1, 5)
            small, large = large, quotient * large + small
        if large <= limit:
            return large, small


def _euclid_steps(large: int, small: int) -> list[str]:
    steps = []
    while small:
        steps.append(_division(large, small))
        large, small = small, large % small
    return steps
