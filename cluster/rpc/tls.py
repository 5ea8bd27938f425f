"""Mutual TLS for the RPCs, TLS 1.3 only.

grpcio can neither ask for a minimum version nor make the client's certificate optional. Our keys are ECDSA, so with only an RSA
suite left for TLS 1.2 no such handshake completes; the server also refuses a connection that does not say TLSv1.3.
"""

import os

import grpc

from cluster.rpc.identity import Identity

MAX_MESSAGE = 4 * 1024 * 1024
"""Bytes. What is larger goes in chunks."""

_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]
_PING_EVERY_MS, _PING_ANSWERED_WITHIN_MS = 1_000, 2_000
"""How a caller notices that a manager is gone without a word (no power, no network): it must be with the next one before that one takes
it for lost."""


def prepare_environment() -> None:
    """Before grpc is used at all: its settings are read once, from the environment."""
    os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES256-GCM-SHA384"
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def server_options() -> list[tuple[str, int]]:
    return [
        *_OPTIONS,
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.http2.min_ping_interval_without_data_ms", _PING_EVERY_MS // 2),
        ("grpc.http2.max_ping_strikes", 0),
    ]


def channel_options(expected_name: str) -> list[tuple[str, int | str]]:
    """`expected_name`: what the server's certificate must be for, `swarm-manager` or a node's id, whatever its address."""
    return [
        *_OPTIONS,
        ("grpc.ssl_target_name_override", expected_name),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.keepalive_time_ms", _PING_EVERY_MS),
        ("grpc.keepalive_timeout_ms", _PING_ANSWERED_WITHIN_MS),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 5_000),  # what a connection may take: TCP and TLS over a slow line, or with a crowd before us
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.enable_retries", 0),
    ]


def channel_credentials(identity: Identity) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(identity.roots.encode(), identity.key.encode(), identity.certificate.encode())


def server_configuration(identity: Identity) -> object:
    return grpc.ssl_server_certificate_configuration([(identity.key.encode(), identity.certificate.encode())], identity.roots.encode())
