"""Exit codes, and errors that cross a process border."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime import errors
from edge_runtime.errors import EdgeError, from_document, to_document

LEAVES = {
    "SelfCheckFailed": 1,
    "OutputExists": 2,
    "ConcurrentUse": 2,
    "ManifestError": 3,
    "HashMismatch": 3,
    "RecordError": 3,
    "WrongInput": 3,
    "InvalidModel": 3,
    "NonFiniteOutput": 3,
    "Unwritable": 3,
    "WorkerLost": 4,
    "TimedOut": 4,
    "UnsupportedModel": 5,
    "UnsupportedSystem": 5,
}
BRANCHES = {"Verdict": 1, "UsageError": 2, "InputError": 3, "BoardError": 4, "Unsupported": 5}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_the_tree_holds_these_classes_and_no_other() -> None:
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, EdgeError) and value is not EdgeError
    }
    assert classes == LEAVES.keys() | BRANCHES.keys()


@pytest.mark.parametrize(("name", "code"), [*LEAVES.items(), *BRANCHES.items()])
def test_every_class_has_its_exit_code_and_only_boards_are_worth_another_try(name: str, code: int) -> None:
    cls = getattr(errors, name)
    assert cls.exit_code == code
    assert cls.transient is (code == 4)


@pytest.mark.parametrize("name", LEAVES)
def test_an_error_survives_a_document_and_a_pickle(name: str) -> None:
    error = getattr(errors, name)("what", "where", "hint")
    for copy in (from_document(to_document(error)), pickle.loads(pickle.dumps(error))):
        assert type(copy) is type(error)
        assert str(copy) == "what – where – hint"


@pytest.mark.parametrize(("code", "name"), [(code, name) for name, code in BRANCHES.items()])
def test_an_unknown_class_becomes_its_branch(code: int, name: str) -> None:
    error = from_document({"code": "BudgetExceeded2", "exit": code, "what": "w", "where": "x", "hint": "h"})
    assert type(error) is getattr(errors, name)


@pytest.mark.parametrize("exit_code", [None, 0, 70, "3", [3], 3.0])
def test_an_unknown_class_without_a_known_code_is_a_lost_worker(exit_code: object) -> None:
    assert type(from_document({"code": "?", "exit": exit_code})) is errors.WorkerLost


@given(st.dictionaries(st.sampled_from(["code", "exit", "what", "where", "hint", "kind"]), json_values))
def test_whatever_a_worker_says_its_error_can_be_told(document: dict[str, object]) -> None:
    error = from_document(document)
    assert isinstance(error, EdgeError)
    assert error.exit_code in range(1, 6)
    assert len(str(error)) < 13_000
