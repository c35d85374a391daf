from kit.solver.solution import blind_guess
from kit.solver.stopping import StopReason


def test_a_blind_guess_is_an_answer_with_its_reason() -> None:
    solution = blind_guess("p1", StopReason.INTERRUPTED, why="sampling never began", seconds=2.0)
    assert (solution.answer, solution.votes, solution.guess) == (0, (), "sampling never began")
