"""Carrying out a change, computed again for as long as it was not computed from what is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tenantlimpyd._operations.steps import Operation, Script
from tenantlimpyd.atomic.change import Change, KnownValues
from tenantlimpyd.exceptions import UNKNOWN_OUTCOME, DoesNotExist, ImplementationError, UniquenessError, shown

__all__ = ["Performed", "StaleError", "missing_object", "perform", "run_script"]


class Performed(NamedTuple):
    """A change that was carried out.

    Attributes:
        replies: the replies of its writes, as the server gave them.
        affected: by key, the values its contents' commands could take away, read just before.
        change: the change.
    """

    replies: list[Any]
    affected: dict[str, list[str]]
    change: Change


class StaleError(Exception):
    """A change that may be computed only once was not computed from what is stored. Nothing was written.

    Attributes:
        known: what is stored.
    """

    def __init__(self, known: KnownValues) -> None:
        super().__init__()
        self.known = known


def run_script(script: Script, described: object) -> Operation[list[Any]]:
    """Run the script of a change, and return its reply: a status and details.

    Args:
        script: the script.
        described: the object, which messages show.

    Raises:
        Exception: If redis-py or the server refuses it; a note names the object where its stored value can't be decoded, or
            where it is not known whether the change was stored.
    """
    try:
        return (yield script)  # type: ignore[no-any-return]
    except UnicodeDecodeError as error:
        error.add_note(f"A stored value of {described} is not UTF-8: it can be deleted through database.connection.")
        raise
    except Exception as error:
        if UNKNOWN_OUTCOME in getattr(error, "__notes__", ()):
            error.add_note(
                f"It is not known whether the change of {described} was stored. Read it, or ask whether its pk exists, "
                "before you repeat the change."
            )
        raise


def missing_object(described: object) -> DoesNotExist:
    """Return the error of a change whose object is not in the database."""
    return DoesNotExist(f"{described} does not exist, or no longer: nothing was written.")


def perform(plan: Callable[[KnownValues], Change], described: object, *, once: bool = False) -> Operation[Performed]:
    """Carry out a change, computing it again for as long as the stored values are not those it was computed from.

    Each new round means that another client wrote in between, or that the outcome of a command was not what the plan
    had guessed; the change is never half done.

    Args:
        plan: returns the change, from what is known.
        described: the object, which messages show.
        once: raise where the change would have to be computed again.

    Raises:
        StaleError: it would, and ``once`` says not to.
        DoesNotExist: the object is not, or no longer, in the collection.
        UniquenessError: the pk or a unique value is taken. Nothing was written.
        ImplementationError: what is stored reads back as something else each time, so that no change can be computed.
    """
    known = KnownValues()
    while True:
        change = plan(known)
        status, *details = yield from run_script(change.script(), described)
        if status == "done":
            replies, *affected = details
            return Performed(replies, dict(zip(change.contents, *affected, strict=True)) if affected else {}, change)
        if status == "stale":
            slots, affected = details
            learned = KnownValues(
                dict(zip(change.guards, slots, strict=True)), {}, dict(zip(change.contents, affected, strict=True))
            )
            if once:
                raise StaleError(learned)
            if (
                learned == known
                and learned.before == change.guards
                and not any(content.must_hold for content in change.contents.values())
            ):
                raise ImplementationError(
                    f"what is stored of {described} can't be read back as it is: nothing was written."
                )
            known = learned
        elif status == "other":
            outcomes = zip(change.guards, details[0], strict=True)
            after = {slot: value for slot, value in outcomes if slot in change.after}
            if after == change.after:
                raise ImplementationError(
                    f"what is stored of {described} can't be read back as it is: nothing was written."
                )
            known = KnownValues(dict(change.guards), after, known.affected)
        elif status == "gone":
            raise missing_object(described)
        elif status == "taken":
            advice = (
                f"the counter of pks lags behind, set {change.collection.removesuffix('collection')}max_pk to the highest"
                if change.allocated
                else "its pk must be another"
            )
            raise UniquenessError(f"{described} already exists: {advice}. Nothing was written.")
        else:
            claim, field = change.claims[details[0] - 1]
            raise UniquenessError(
                f"{shown(claim.value)} for the unique field {field!r} of {described} belongs to pk {shown(details[1])} "
                "already. Nothing was written."
            )
