"""A history of attempts tells the changes of task instances: one transaction, one change."""

from msgspec import structs

from oracle.attempts import Attempts
from oracle.events import (
    AnswerEvent,
    DagRunEvent,
    Event,
    Header,
    PodEvent,
    Row,
    TaskInstanceEvent,
    TaskInstanceKey,
)

HEADER = Header(1, "r", "3.4.0b2", "embedded", ["s"], 1, 0.0, attempts="row-per-attempt")
START = TaskInstanceKey("d", "r1", "start")


def change(
    xid: int, old: Row | None, new: Row | None, ti: TaskInstanceKey = START
) -> TaskInstanceEvent:
    op = "insert" if old is None else "delete" if new is None else "update"
    return TaskInstanceEvent(xid / 10, op, ti, old, new, "scheduler-1", xid)  # type: ignore[arg-type]


def row(identity: str, state: str | None, number: int = 1, archived: bool = False) -> Row:
    return Row(identity, state, number, archived=archived)


def told(*events: Event, header: Header = HEADER) -> list[tuple[str | None, str | None]]:
    shown = []
    for event in Attempts(header).over(events):
        if isinstance(event, TaskInstanceEvent):
            ends = [f"{each.id} {each.state}" if each else None for each in (event.old, event.new)]
            shown.append((ends[0], ends[1]))
    return shown


RETRY = (
    change(1, row("a", "running"), row("a", "up_for_retry")),
    change(1, row("a", "up_for_retry"), row("a", "failed", archived=True)),
    change(1, None, row("b", "up_for_retry", 2)),
)


def test_an_attempt_and_its_successor_are_one_change() -> None:
    assert told(*RETRY) == [("a running", "b up_for_retry")]


def test_a_run_that_the_transaction_changed_in_between_does_not_part_them() -> None:
    run = DagRunEvent(0.1, "update", "d", "r1", "failed", "queued", "api-server", 1)
    mixed = (*RETRY[:2], run, RETRY[2])
    assert told(*mixed) == told(*RETRY)
    seen = list(Attempts(HEADER).over(mixed))
    assert [type(each) for each in seen] == [TaskInstanceEvent, DagRunEvent]


def test_older_histories_are_told_as_they_are() -> None:
    older = structs.replace(HEADER, attempts="row-per-task")
    assert len(told(*RETRY, header=older)) == 3


def test_the_rows_of_another_transaction_stay_apart() -> None:
    again = change(2, row("b", "up_for_retry", 2), row("b", "scheduled", 2))
    assert told(*RETRY, again)[1:] == [("b up_for_retry", "b scheduled")]


def test_an_attempt_that_is_superseded_ends() -> None:
    gone = change(1, row("a", "success"), row("a", "success", archived=True))
    assert told(gone) == [("a success", None)]


def test_what_is_written_late_to_an_archived_attempt_is_no_change_of_its_task_instance() -> None:
    late = Row("a", "failed", 1, external_executor_id="pod", archived=True)
    assert told(*RETRY, change(2, row("a", "failed", archived=True), late))[1:] == []


def test_a_task_that_is_mapped_ends_under_one_name_and_goes_on_under_another() -> None:
    mapped = structs.replace(START, map_index=0, region="01a2")
    events = (
        change(1, None, row("a", None, 0)),
        change(3, row("a", None, 0), row("a", "scheduled"), mapped),
    )
    changes = [e for e in Attempts(HEADER).over(events) if isinstance(e, TaskInstanceEvent)]
    names = [(each.op, str(each.ti)) for each in changes]
    unmapped, first = str(START), str(structs.replace(mapped, region=""))
    assert names == [("insert", unmapped), ("delete", unmapped), ("update", first)]
    assert changes[-1].old == row("a", None, 0), "its first move is not lost"


def test_a_row_that_is_numbered_anew_for_its_new_name_begins_under_it() -> None:
    mapped = structs.replace(START, map_index=0)
    events = (
        change(1, None, row("a", None, 2)),
        change(2, row("a", None, 2), row("a", None, 4), mapped),
    )
    changes = [e for e in Attempts(HEADER).over(events) if isinstance(e, TaskInstanceEvent)]
    assert [(e.op, e.ti.map_index) for e in changes] == [
        ("insert", -1),
        ("delete", -1),
        ("insert", 0),
    ]


def test_what_comes_under_the_name_of_a_superseded_attempt_is_other_work() -> None:
    gone = Row("a", "success", 1, archived=True, archived_reason="superseded")
    again = change(1, None, row("b", None, 0))
    assert told(change(1, row("a", "success"), gone), again) == [
        ("a success", None),
        (None, "b None"),
    ]


def test_what_was_begun_under_a_name_that_becomes_ambiguous_is_gone() -> None:
    passes = [structs.replace(START, region=region) for region in ("01a2", "02b3")]
    events = (
        change(1, None, row("a", None, 0), passes[0]),
        change(2, row("a", None, 0), row("a", "queued"), passes[0]),
        change(3, None, row("b", None, 0), passes[1]),
        change(4, row("a", "queued"), row("a", "running"), passes[0]),
    )
    changes = [e for e in Attempts(HEADER).over(events) if isinstance(e, TaskInstanceEvent)]
    assert [each.op for each in changes] == ["insert", "update", "delete"]
    assert (changes[-1].ti, changes[-1].new) == (START, None)


def test_names_that_two_live_rows_bear_say_nothing() -> None:
    attempts = Attempts(HEADER)
    passes = [structs.replace(START, map_index=0, region=region) for region in ("01a2", "02b3")]
    pod = PodEvent(9.0, "added", "p", "u", structs.replace(START, map_index=0), 1)
    events = (
        change(1, None, row("a", None, 0), passes[0]),
        change(2, None, row("b", None, 0), passes[1]),
        change(3, row("b", None, 0), row("b", "scheduled"), passes[1]),
        pod,
    )
    seen = list(attempts.over(events))
    assert attempts.ambiguous == {structs.replace(START, map_index=0)}
    assert [getattr(each, "op", "") for each in seen] == ["insert", "delete"]


def test_an_answer_about_a_row_in_a_region_is_about_its_task_instance() -> None:
    inside = structs.replace(START, region="0123")
    answer = AnswerEvent(0.3, "state", "a", inside, 1, "success", status=204, given=True)
    queued = change(1, row("a", "queued"), row("a", "running"), inside)
    seen = list(Attempts(HEADER).over((queued, answer)))
    assert [each.ti for each in seen if isinstance(each, TaskInstanceEvent | AnswerEvent)] == [
        START,
        START,
    ]
