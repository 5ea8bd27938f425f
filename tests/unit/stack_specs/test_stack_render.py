"""A stack is shown as docker shows it, and what is shown reads back as the same stack."""

import pytest

from stack_specs.convert import render_config
from stack_specs.model import Stack
from tests.unit.stack_specs.stack_files import loaded, stack_of


def meaning(stack: Stack) -> tuple[object, ...]:
    return stack.version, stack.services, stack.networks, stack.volumes, stack.secrets, stack.configs, stack.extras


def test_short_syntaxes_are_written_out() -> None:
    shown = render_config(
        loaded(stack_of("ports: ['8080:80']\ncommand: a b\nvolumes: ['./x:/x:ro']\nhealthcheck: {test: x, interval: 90s}"))
    )
    assert shown == (
        'version: "3.13"\n'
        "services:\n"
        "  web:\n"
        "    command:\n"
        "    - a\n"
        "    - b\n"
        "    healthcheck:\n"
        "      test:\n"
        "      - CMD-SHELL\n"
        "      - x\n"
        "      interval: 1m30s\n"
        "    image: nginx\n"
        "    ports:\n"
        "    - mode: ingress\n"
        "      target: 80\n"
        "      published: 8080\n"
        "      protocol: tcp\n"
        "    volumes:\n"
        "    - type: bind\n"
        "      source: /srv/x\n"
        "      target: /x\n"
        "      read_only: true\n"
    )


def test_zero_and_false_are_shown_where_they_differ_from_nothing() -> None:
    shown = render_config(
        loaded(stack_of("init: false\ntty: false\ndeploy: {replicas: 0, update_config: {delay: 0s}, restart_policy: {delay: 0s}}"))
    )
    assert "init: false" in shown
    assert "tty" not in shown
    assert "replicas: 0" in shown
    assert "update_config: {}" in shown
    assert "delay: 0s" in shown


@pytest.mark.parametrize("text", ["1e3", "0o17", "yes", "22:22", "2001-01-01", "null", "0444", " x ", "a: b", "#", "line\ntwo\n", "ä", ""])
def test_text_stays_text(text: str) -> None:
    stack = loaded("services: {web: {image: x, labels: {a: '${TEXT}'}}}", env={"TEXT": text})
    assert loaded(render_config(stack)).services[0].labels == {"a": text}


@pytest.mark.parametrize(
    "text",
    [
        "services: {}",
        stack_of(
            "networks: {a: , b: {aliases: [x]}}\nulimits: {a: 5, b: {soft: 1, hard: 2}}\nenvironment: {A: , B: ''}", "networks: {a: , b: }"
        ),
        stack_of(
            "deploy: {resources: {limits: {cpus: '0.5', memory: 5m},"
            " reservations: {generic_resources: [{discrete_resource_spec: {kind: a, value: 0}}]}}}"
        ),
        stack_of("logging: {driver: x, options: {a: 1}}\nlabels: [a=b]\nx-own: {a: [1, ~]}", "x-top: 1"),
        (
            "secrets: {a: {file: /f, labels: [x]}, b: {external: true, name: c, x-own: 1}}\n"
            "volumes: {v: {name: n, driver: d, driver_opts: {a: b}}}"
        ),
    ],
)
def test_what_is_shown_reads_back(text: str) -> None:
    stack = loaded(text)
    assert meaning(loaded(render_config(stack))) == meaning(stack)


def test_an_old_external_name_is_shown_the_new_way() -> None:
    assert render_config(loaded("networks: {a: {external: {name: b}}}")).endswith("networks:\n  a:\n    name: b\n    external: true\n")
