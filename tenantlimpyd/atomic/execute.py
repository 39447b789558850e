"""Execute a change, and compute it again while its guards are not the stored values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tenantlimpyd._operations.steps import Operation, Script
from tenantlimpyd.atomic.change import Change, KnownValues
from tenantlimpyd.exceptions import UNKNOWN_OUTCOME, DoesNotExist, ImplementationError, UniquenessError, shown

__all__ = ["Performed", "StaleError", "missing_object", "perform", "run_script"]


class Performed(NamedTuple):
    """A change that was executed.

    Attributes:
        replies: the server's replies to the writes, not parsed.
        affected: by key, the values that the writes could remove, read in the same step before them.
        change: the change.
    """

    replies: list[Any]
    affected: dict[str, list[str]]
    change: Change


class StaleError(Exception):
    """A guard is not the stored value, in a change that may be computed only once. Nothing was written.

    Attributes:
        known: the stored values.
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
    """Execute a change, and compute it again while the values it was computed from are not the stored values.

    Each further attempt means that another client has written in between, or that a predicted value was wrong. A change is
    never executed in part.

    Args:
        plan: computes the change from the known values.
        described: the object, which messages show.
        once: raise an error instead of computing the change again.

    Raises:
        StaleError: If the change would have to be computed again, and ``once`` is true.
        DoesNotExist: If the object's pk is not in the set of live pks. Nothing was written.
        UniquenessError: If another object has the pk or a unique value. Nothing was written.
        ImplementationError: If the stored values can't be read back as they are, so that no guard can match them. Nothing
            was written.
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
