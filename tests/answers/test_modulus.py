from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.answers.modulus import stated_modulus


@pytest.mark.parametrize(
    ("problem", "modulus"),
    [
        ("Find the remainder when $abc$ is divided by $10^{5}$.", 10**5),
        ("What is the remainder when $2^k$ is divided by $5^7$?", 5**7),
        ("If $q = 3$, what is the remainder when $\\lfloor p^{q} \\rfloor$ is divided by $99991$?", 99_991),
        ("Find the remainder when\n\\[\\prod_{k=0}^{12}(2-k)\\]\nis divided by 1000.", 1000),
        ("When $N$ is divided by $1000$, what is the remainder?", 1000),
        ("Find the remainder when $N$ is divided by 1000, where $N$ is the number of paths.", 1000),
        ("Compute $2^{100}$ modulo 1,000.", 1000),
        ("Find $N$ mod 1000.", 1000),
        ("Compute $3^{50} \\bmod 7$.", 7),
        ("Find $3^{50} \\pmod{11}$.", 11),
        ("How many are there? Give your answer modulo $10^9+7$.", 10**9 + 7),
        ("Find $m+n$. Report the answer mod $99991$.", 99_991),
        ("Find the last three digits of $7^{999}$.", 1000),
        ("What are the last 5 digits of $N$?", 10**5),
        ("Find the units digit of $18^6$.", 10),
        ("Find the last digit of $3^{2024}$.", 10),
        (r"What is $A \mod 100000$?", 10**5),
        (r"What is $A \bmod 10^5$?", 10**5),
        (r"What is \(A \bmod10^5\)?", 10**5),
        (r"Find $A \text{ mod } 1000$.", 1000),
        (r"Submit your answer as $A \bmod 10^5$.", 10**5),
        ("What remainder does $A$ leave when divided by $10^5$?", 10**5),
        ("What remainder is left when $A$ is divided by 1000?", 1000),
        ("Find the remainder obtained when $A$ is divided by $10^5$.", 10**5),
        ("Let $R$ be the remainder when $A$ is divided by $10^5$. Find $R$.", 10**5),
        ("What is the residue of $T$ modulo $10^5$?", 10**5),
        ("Determine the least nonnegative residue of $3^{100}$ modulo 101.", 101),
        ("What is $T$ (mod 1000)?", 1000),
        ("What remainder is obtained when $N$ is divided by 13?", 13),
        ("What will be the remainder when $N$ is divided by 13?", 13),
        ("Report N's last five digits.", 10**5),
        ("What are $N$'s last three digits?", 1000),
        ("Find the two digits at the end of $N$.", 100),
        ("What are the two ending digits of $N$?", 100),
        ("What is the trailing digit of $N$?", 10),
        ("Compute the sum of all such $n$, modulo 1000.", 1000),
        ("Find the sum of all possible values of $n$ modulo 1000.", 1000),
        ("Output the answer modulo 10^9+7.", 10**9 + 7),
        ("What is the sum of all such $n$ (mod 100000)?", 100_000),
        ("Find the number of such words $\\pmod{1000}$.", 1000),
        ("Find the two rightmost digits of $7^{99}$.", 100),
        ("What are the three last digits of $7^{999}$?", 1000),
        ("What are the last five decimal digits of $T$?", 10**5),
        ("Compute the remainder upon dividing $T$ by $10^5$.", 10**5),
        ("Find $T$, reduced modulo $99991$.", 99_991),
        ("Submit the remainder when $T$ is divided by 1000.", 1000),
        ("What is the remainder upon division of $T$ by 1000?", 1000),
        ("Find the remainder of the division of $T$ by $10^5$.", 10**5),
        ("Report T modulo 10^{5}.", 10**5),
        ("Return T mod 10^5.", 10**5),
        ("Enter $T$ modulo 100000.", 10**5),
        ("Your answer should be given modulo 10^5.", 10**5),
        ("Let $R$ be the remainder when $A$ is divided by $7$. Here $A=BC$.\nWhat is the value of $R$?", 7),
    ],
)
def test_finds_the_modulus_of_the_final_question(problem: str, modulus: int) -> None:
    assert stated_modulus(problem) == modulus


@pytest.mark.parametrize(
    "problem",
    [
        "",
        "What is $1-1$?",
        "Find T modulo 10**5 + 7.",
        "Find $T$ modulo 10^{50} - 1.",
        "Find the quotient upon division of $T$ by 1000.",
        "Let $R$ be the remainder when $N$ is divided by $1000$. Find $Q+R$.",
        "Let $R$ be the remainder when $N$ is divided by 7. What is $R^2$?",
        "What is the remainder when $N$ is divided by 7? Find also its square.",
        "Find the number of $n$ such that the remainder when $n^2$ is divided by 7 is 2.",
        "Find the largest integer that has a remainder of 5 when divided by 7.",
        "Find the remainder when $x^6 - 3$ is divided by $x + 1$.",
        "Find the remainder when $N$ is divided by 7 plus 3.",
        "Find the sum of the last three digits of $7^{999}$.",
        "Find the last three digits of $N$ in base 7.",
        "Find the order of $2$ modulo $101$.",
        "Find the number of primitive roots modulo 101.",
        "Find the inverse of $3$ modulo $7$.",
        "Find all $n$ with $n \\equiv 3 \\pmod{7}$.",
        "Find the smallest $n$ with $7n \\equiv 1 \\pmod{100}$.",
        "Let $d$ be the units digit of $N$. Which $d$ makes $N$ divisible by 6?",
        "Let $M=3^{2025}$ modulo $7$. How many divisors has $M$?",
        "The last three digits of $N$ are 123. Find $N$.",
        "Let $R$ be the remainder when $N$ is divided by $1000$. Find $N$.",
        "Let $R$ be the remainder when $N$ is divided by $1000$. Find $2R$.",
        "Let $R$ be the remainder when $N$ is divided by $7 + x$. Find $R$.",
        "Let $R$ be the remainder when $N$ is divided by 7 plus 30. Find $R$.",
        "Let $R$ be the remainder when $N$ is divided by 7 and then squared. Find $R$.",
        "Let $x_0=3$, and let $x_{n+1}$ be the remainder when $5x_n+5$ is divided by $14$. Find $x_{2}$.",
        "What remainder does $A$ leave when divided by 7, multiplied by 100?",
        "What is $x$ if $x \\bmod 7 = 3$?",
        "Find $\\sum_{k=1}^{100} k \\bmod 7$.",
        "Find $\\sum_{k=1}^{100} (k \\bmod 7)$.",
        "What is $x + (y \\mod 7)$?",
        "Find the number of residues modulo 101.",
        "Find all $n$ with $n = 3 \\pmod{7}$.",
        "Find the inverse of $3$ (mod 7).",
        "What is the order of $2$ (mod 101)?",
        "How many $x$ satisfy $x^2=1$ (mod 8)?",
        "Find the number of solutions of $x^2 \\equiv 1$ (mod 8).",
        "Find the number of quadratic residues $\\pmod{101}$.",
        "Find the smallest primitive root (mod 41).",
        "Find the sum of the two rightmost digits of $7^9$.",
        "What is the residue of $f$ at $0$?",
        "What does each child get when 60 sweets are divided by 4?",
        "What does N equal if it leaves remainder 2 when divided by 7?",
        "What is the smallest $n$ that leaves remainder 3 when divided by 7?",
        "Find the remainder that $N$ leaves when divided by 7, and compute its cube.",
    ],
)
def test_leaves_a_modulus_of_the_premises_alone(problem: str) -> None:
    assert stated_modulus(problem) is None


@given(st.text())
def test_reading_a_problem_is_total(problem: str) -> None:
    assert (stated_modulus(problem) or 2) >= 2


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece",
    [
        "find the remainder when ", "when x is divided by ", "find $x ", "answer mod ", "$", " ",
        "let r be the remainder when ", "what remainder does ", r"what is $a \mod ", "find the remainder when    ",
        "find the residue of x ", "what is x (mod ", "find x \\pmod{", "find the remainder upon dividing ",
        "find x reduced mod ",
    ],
)  # fmt: skip
def test_a_long_problem_is_read_in_bounded_time(piece: str) -> None:
    assert stated_modulus(piece * 50_000) is None


@pytest.mark.parametrize(
    "problem",
    [
        "What is N's remainder when divided by 1000?",
        "What is $N$'s remainder when it is divided by 1000?",
        "Find the remainder that N leaves when divided by 1000.",
        "Determine the remainder which $S$ leaves when it is divided by $1000$.",
        "What does N leave as remainder when divided by 1000?",
        "What does $2^{100}$ leave as a remainder when divided by 1000?",
        "If N is divided by 1000, what remainder is left?",
        "When $N$ is divided by 1000, what remainder do you get?",
    ],
)
def test_finds_the_remainder_whatever_leaves_it(problem: str) -> None:
    assert stated_modulus(problem) == 1000
