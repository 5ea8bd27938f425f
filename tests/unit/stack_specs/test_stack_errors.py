"""A refusal is one line: the place, the key, what is wrong, what to do."""

from stack_specs.errors import Fault, StackError, dotted


def test_all_parts_are_said() -> None:
    error = StackError(file="a.yml", line=3, path=("services", "web", "ports", 0), problem="is no port", remedy="write 80")
    assert str(error) == "a.yml:3: services.web.ports.0: is no port; write 80"
    assert (error.file, error.line, error.path, error.problem, error.remedy) == (
        "a.yml",
        3,
        ("services", "web", "ports", 0),
        "is no port",
        "write 80",
    )


def test_what_is_not_known_is_left_out() -> None:
    assert str(StackError(file="a.yml", line=None, path=(), problem="is empty")) == "a.yml: is empty"
    assert str(StackError(file=None, line=None, path=(), problem="is empty")) == "is empty"


def test_a_fault_knows_keys_and_no_place() -> None:
    fault = Fault(("a", 1), "is odd", "make it even")
    assert (str(fault), dotted(fault.path)) == ("a.1: is odd; make it even", "a.1")
