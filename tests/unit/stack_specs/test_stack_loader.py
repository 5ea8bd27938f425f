"""Files are read, checked and merged; whatever is wrong is said with file, line and key."""

import subprocess
import sys

import pytest

from stack_specs.errors import Fault, StackError
from stack_specs.loader import load
from tests.unit.stack_specs.stack_files import NO_ENV, loaded, reader


def refusal(*texts: str, **files: str) -> str:
    with pytest.raises(StackError) as caught:
        loaded(*texts, **files)
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "version"), [("", "3.13"), ("version: '3'", "3.13"), ("version: ''", "3.13"), ("version: '3.4'", "3.4")]
)
def test_a_file_without_a_version_has_the_latest(written: str, version: str) -> None:
    assert loaded(f"{written}\nservices: {{}}").version == version


@pytest.mark.parametrize("written", ["'2.4'", "'3.14'", "'3.'", "'3.08'", "'4'", "~", "3.14", "'1'"])
def test_an_unknown_version_is_refused(written: str) -> None:
    said = refusal(f"services: {{}}\nversion: {written}")
    assert said.startswith("stack1.yml:2: version: unsupported Compose file version: ")
    assert said.endswith('use "3.0" to "3.13", or take the key out')


def test_a_version_is_text() -> None:
    assert refusal("version: 3.8") == 'stack1.yml:1: version: must be a string, but is a number; put it in quotes: "3.8"'


def test_files_must_agree_on_the_version() -> None:
    assert refusal("version: '3.8'", "version: '3.7'").startswith('stack2.yml:1: version: is "3.7" here and "3.8" in the first file')


def test_version_3_and_the_latest_agree() -> None:
    assert loaded("version: '3'", "version: '3.13'", "services: {}").version == "3.13"


@pytest.mark.parametrize(
    "key", ["extends", "volume_driver", "volumes_from", "cpu_quota", "cpu_shares", "cpuset", "mem_limit", "memswap_limit"]
)
def test_what_docker_forbids_is_forbidden(key: str) -> None:
    assert f"stack1.yml:3: services.web.{key}: is not supported in a stack; " in refusal(f"services:\n  web:\n    {key}: x")


def test_the_guilty_file_is_named() -> None:
    said = refusal("services: {web: {image: a}}", "services:\n  web:\n    imag: b")
    assert said == "stack2.yml:3: services.web.imag: unknown key 'imag'; did you mean 'image'?"


def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(StackError, match=r"nope\.yml: cannot be read: No such file or directory; check the path"):
        load(["nope.yml"], env=NO_ENV, read=reader({}), working_dir="/srv")


def test_standard_input_is_called_so() -> None:
    with pytest.raises(StackError, match="standard input:1: top-level object must be a mapping"):
        load(["-"], env=NO_ENV, read=reader({"-": "[]"}), working_dir="/srv")


def test_no_file_is_refused() -> None:
    with pytest.raises(StackError, match="no stack file was given"):
        load([], env=NO_ENV, read=reader({}), working_dir="/srv")


def test_variables_are_put_in_from_the_client_s_environment() -> None:
    text = "services: {web: {image: 'nginx:${TAG:-1}', deploy: {replicas: '${N}'}}}"
    service = loaded(text, env={"N": "3"}).services[0]
    assert (service.image, service.deploy.replicas) == ("nginx:1", 3)


def test_variables_can_be_left_alone() -> None:
    stack = load(["f"], env=NO_ENV, read=reader({"f": "services: {web: {image: '$TAG'}}"}), working_dir="/srv", variables=False)
    assert stack.services[0].image == "$TAG"


def test_a_missing_variable_is_refused_at_its_line() -> None:
    said = refusal("services:\n  web:\n    image: nginx:${TAG:?set the tag}")
    assert said == (
        "stack1.yml:3: services.web.image: required variable TAG is missing a value: set the tag; set the variable where the command runs"
    )


def test_anchors_are_shared_between_services() -> None:
    stack = loaded("x-base: &base {image: nginx, labels: {a: b}}\nservices: {one: {<<: *base, hostname: x}, two: *base}")
    assert [(service.name, service.image, service.hostname) for service in stack.services] == [("one", "nginx", "x"), ("two", "nginx", "")]


def test_a_fault_found_later_points_at_the_file_that_has_most_of_it() -> None:
    stack = loaded("services:\n  web:\n    image: a", "services:\n  web:\n    hostname: b")
    assert str(stack.error(Fault(("services", "web", "image"), "p"))) == "stack1.yml:3: services.web.image: p"
    assert str(stack.error(Fault(("services", "web", "hostname"), "p"))) == "stack2.yml:3: services.web.hostname: p"
    assert str(stack.error(Fault(("services", "web"), "p", "do"))) == "stack2.yml:2: services.web: p; do"


def test_reading_brings_in_no_event_loop_and_no_network() -> None:
    unwanted = {"asyncio", "aiohttp", "socket", "random", "grpc"}
    script = f"import sys, stack_specs.loader, stack_specs.convert; print(sorted({unwanted} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
