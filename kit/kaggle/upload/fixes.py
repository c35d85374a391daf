"""What to do about a fault when a notebook is pushed, or one of its versions submitted."""

from __future__ import annotations

from kit.kaggle.facts import COMPETITION_PAGE, NEW_TOKEN, SITE
from kit.kaggle.upload.faults import Fault

WAIT = "wait some minutes, then run the same command again"
_EVENTS = f"`View Active Events` at {SITE} lists what runs; wait until one has ended, or stop it there"


def push_fix(fault: Fault, *, username: str, page: str) -> str:
    """The fix for a push that failed. page: the notebook's."""
    match fault:
        case Fault.UNAUTHENTICATED:
            return NEW_TOKEN
        case Fault.FORBIDDEN:
            return (
                f"is the notebook yours ({username}), is your phone number verified ({SITE}/settings), and are the "
                f"rules accepted ({COMPETITION_PAGE}/rules)?"
            )
        case Fault.NAME_IN_USE:
            return "choose another --slug"
        case Fault.LIMITED:
            return WAIT
        case Fault.SESSIONS:
            return f"{_EVENTS}, then run the same command again"
        case Fault.QUOTA:
            return f"your GPU hours are used up: {SITE}/settings tells when there are new ones"
        case Fault.PASSING:
            return f"look at {page} whether the version is there; if not, {WAIT}"
        case _:
            return "check --slug, --dataset, --model-source, --accelerator and --image"


def submit_fix(fault: Fault, *, page: str) -> str:
    """The fix for a submission that failed. page: the notebook's."""
    match fault:
        case Fault.UNAUTHENTICATED:
            return NEW_TOKEN
        case Fault.FORBIDDEN:
            return f"join the competition and accept its rules ({COMPETITION_PAGE}/rules)"
        case Fault.LIMITED:
            return WAIT
        case Fault.SESSIONS:
            return f"{_EVENTS}, then run the same command again"
        case Fault.QUOTA:
            return f"a new day begins at 00:00 UTC; {COMPETITION_PAGE}/submissions lists what was submitted"
        case Fault.PASSING | Fault.NAME_IN_USE:
            return f"it may have been taken all the same: look at {COMPETITION_PAGE}/submissions before you try again"
        case _:
            return f"see {page}: the version must be there, complete, and have left its submission file"
