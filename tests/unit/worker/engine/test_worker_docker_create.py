"""Every field of a container spec reaches the engine in its own words, or is refused; none is dropped."""

import base64

import pytest

from cluster.api.specs import (
    BindOptions,
    ContainerSpec,
    CredentialSpec,
    DNSConfig,
    DriverConfig,
    HealthConfig,
    ImageOptions,
    Limits,
    LogDriver,
    Mount,
    PortConfig,
    Privileges,
    Reservations,
    Resources,
    SecurityProfile,
    SELinuxContext,
    TmpfsOptions,
    Ulimit,
    VolumeOptions,
)
from worker.engine.docker_create import Unsupported, create_body, later_networks, parse_version, published_ports
from worker.ports import ContainerPlan, EngineNetwork, SandboxPlan

OLD, NEW = (1, 41), (1, 51)


def plan(spec: ContainerSpec | None = None, **more: object) -> ContainerPlan:
    return ContainerPlan(name="web.1.t1", labels={"l": "1"}, spec=spec or ContainerSpec(image="app"), **more)  # type: ignore[arg-type]


def host(spec: ContainerSpec, api: tuple[int, int] = NEW, **more: object) -> dict[str, object]:
    found: dict[str, object] = create_body(plan(spec, **more), api)["HostConfig"]
    return found


def mounts(mount: Mount, api: tuple[int, int] = NEW) -> object:
    return host(ContainerSpec(image="app", mounts=(mount,)), api)["Mounts"]


def test_the_engine_never_restarts_a_task() -> None:
    assert host(ContainerSpec(image="app"))["RestartPolicy"] == {"Name": "no"}


def test_the_container_itself() -> None:
    spec = ContainerSpec(
        image="app",
        command=("/entry",),
        args=("-v", "x"),
        env=("A=1",),
        dir="/srv",
        user="1000:1000",
        tty=True,
        open_stdin=True,
        stop_signal="SIGINT",
    )
    assert create_body(plan(spec, hostname="h"), NEW) | {"HostConfig": 0} == {
        "Image": "app",
        "Hostname": "h",
        "Labels": {"l": "1"},
        "Env": ["A=1"],
        "WorkingDir": "/srv",
        "User": "1000:1000",
        "Tty": True,
        "OpenStdin": True,
        "StdinOnce": False,
        "StopSignal": "SIGINT",
        "Entrypoint": ["/entry"],
        "Cmd": ["-v", "x"],
        "NetworkingConfig": {"EndpointsConfig": {}},
        "HostConfig": 0,
    }


def test_what_the_host_grants() -> None:
    spec = ContainerSpec(
        image="app",
        groups=("audio",),
        read_only=True,
        init=False,
        sysctls={"net.core.somaxconn": "9"},
        capability_add=("CAP_NET_ADMIN",),
        capability_drop=("ALL",),
        ulimits=(Ulimit(name="nofile", soft=10, hard=20),),
        oom_score_adj=5,
        hosts=("10.0.0.9 db db.local", "::1 six"),
        dns_config=DNSConfig(nameservers=("9.9.9.9",), search=("corp",), options=("ndots:2",)),
    )
    resources = Resources(limits=Limits(nano_cpus=5, memory_bytes=6, pids=7), reservations=Reservations(memory_bytes=3))
    assert host(spec, resources=resources, log_driver=LogDriver(name="json-file", options={"max-size": "1m"})) == {
        "RestartPolicy": {"Name": "no"},
        "NetworkMode": "default",
        "GroupAdd": ["audio"],
        "ReadonlyRootfs": True,
        "Init": False,
        "Sysctls": {"net.core.somaxconn": "9"},
        "CapAdd": ["CAP_NET_ADMIN"],
        "CapDrop": ["ALL"],
        "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
        "OomScoreAdj": 5,
        "ExtraHosts": ["db:10.0.0.9", "db.local:10.0.0.9", "six:::1"],
        "Dns": ["9.9.9.9"],
        "DnsSearch": ["corp"],
        "DnsOptions": ["ndots:2"],
        "NanoCpus": 5,
        "Memory": 6,
        "PidsLimit": 7,
        "MemoryReservation": 3,
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
    }


def test_a_health_check_and_its_start_interval_where_the_engine_knows_it() -> None:
    spec = ContainerSpec(image="app", healthcheck=HealthConfig(test=("CMD", "ok"), interval=1, retries=2, start_interval=4))
    assert create_body(plan(spec), NEW)["Healthcheck"] == {"Test": ["CMD", "ok"], "Interval": 1, "Retries": 2, "StartInterval": 4}
    assert create_body(plan(spec), OLD)["Healthcheck"] == {"Test": ["CMD", "ok"], "Interval": 1, "Retries": 2}


def test_privileges_become_security_options() -> None:
    profile = '{"defaultAction": "SCMP_ACT_ALLOW"}'
    privileges = Privileges(
        no_new_privileges=True,
        selinux_context=SELinuxContext(user="u", level="s0"),
        seccomp=SecurityProfile(mode="custom", profile=base64.b64encode(profile.encode()).decode()),
        app_armor=SecurityProfile(mode="disabled"),
    )
    assert host(ContainerSpec(image="app", privileges=privileges))["SecurityOpt"] == [
        "no-new-privileges",
        "label=user:u",
        "label=level:s0",
        f"seccomp={profile}",
        "apparmor=unconfined",
    ]
    off = Privileges(selinux_context=SELinuxContext(disable=True), seccomp=SecurityProfile(mode="unconfined"))
    assert host(ContainerSpec(image="app", privileges=off))["SecurityOpt"] == ["label=disable", "seccomp=unconfined"]


def test_mounts_of_each_type() -> None:
    bind = Mount(type="bind", source="/a", target="/b", read_only=True, bind_options=BindOptions(propagation="rshared", non_recursive=True))
    assert mounts(bind) == [
        {
            "Type": "bind",
            "Source": "/a",
            "Target": "/b",
            "ReadOnly": True,
            "BindOptions": {"Propagation": "rshared", "NonRecursive": True},
        }
    ]
    options = VolumeOptions(no_copy=True, labels={"x": "y"}, driver_config=DriverConfig(name="local", options={"type": "nfs"}), subpath="s")
    assert mounts(Mount(type="volume", source="v", target="/b", volume_options=options)) == [
        {
            "Type": "volume",
            "Source": "v",
            "Target": "/b",
            "ReadOnly": False,
            "VolumeOptions": {
                "NoCopy": True,
                "Labels": {"x": "y"},
                "DriverConfig": {"Name": "local", "Options": {"type": "nfs"}},
                "Subpath": "s",
            },
        }
    ]
    tmpfs = Mount(type="tmpfs", target="/t", tmpfs_options=TmpfsOptions(size_bytes=9, mode=0o700, options=(("noexec",),)))
    assert mounts(tmpfs) == [
        {
            "Type": "tmpfs",
            "Source": "",
            "Target": "/t",
            "ReadOnly": False,
            "TmpfsOptions": {"SizeBytes": 9, "Mode": 0o700, "Options": [["noexec"]]},
        }
    ]


def test_a_missing_bind_source_is_made_when_asked_for_on_old_engines_too() -> None:
    bind = Mount(
        type="bind", source="/a", target="/b", read_only=True, bind_options=BindOptions(create_mountpoint=True, propagation="rslave")
    )
    assert host(ContainerSpec(image="app", mounts=(bind,)), OLD)["Binds"] == ["/a:/b:ro,rslave"]
    assert mounts(bind, NEW) == [
        {
            "Type": "bind",
            "Source": "/a",
            "Target": "/b",
            "ReadOnly": True,
            "BindOptions": {"Propagation": "rslave", "CreateMountpoint": True},
        }
    ]


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        (Mount(type="volume", source="v", target="/b", volume_options=VolumeOptions(subpath="s")), "volume subpath needs engine API 1.45"),
        (Mount(type="tmpfs", target="/b", tmpfs_options=TmpfsOptions(options=(("exec",),))), "tmpfs options needs engine API 1.46"),
        (Mount(type="image", source="i", target="/b", image_options=ImageOptions()), "a mount of type image needs engine API 1.48"),
        (
            Mount(type="bind", source="/a", target="/b", bind_options=BindOptions(read_only_force_recursive=True)),
            "bind-recursive=readonly needs engine API 1.44; this engine has 1.41",
        ),
        (Mount(type="npipe", source="p", target="/b"), "type 'npipe' does not exist on Linux"),
        (Mount(type="tmpfs", source="x", target="/b"), "a tmpfs has no source"),
    ],
)
def test_what_an_engine_cannot_mount_is_refused_with_the_version_that_can(mount: Mount, words: str) -> None:
    with pytest.raises(Unsupported, match=words):
        mounts(mount, OLD)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (ContainerSpec(image="app", isolation="hyperv"), "a mode of Windows containers"),
        (ContainerSpec(image="app", privileges=Privileges(credential_spec=CredentialSpec(file="x"))), "credential spec works on Windows"),
        (ContainerSpec(image="app", privileges=Privileges(seccomp=SecurityProfile(mode="custom", profile="%"))), "neither JSON nor base64"),
        (ContainerSpec(image="app", privileges=Privileges(app_armor=SecurityProfile(mode="x"))), "unknown AppArmor mode 'x'"),
        (ContainerSpec(image="app", hosts=("nonsense",)), "invalid entry 'nonsense' in hosts"),
    ],
)
def test_what_no_engine_here_can_do_is_refused(spec: ContainerSpec, words: str) -> None:
    with pytest.raises(Unsupported, match=words):
        host(spec)


def test_secrets_and_resolv_conf_are_read_only_binds_before_the_specs_own_mounts() -> None:
    spec = ContainerSpec(image="app", mounts=(Mount(type="volume", source="v", target="/b"),))
    found = host(spec, sandbox=SandboxPlan(binds=(("/r", "/etc/resolv.conf"),)), files=(("/s", "/run/secrets/s", True),))
    assert found["Mounts"] == [
        {"Type": "bind", "Source": "/r", "Target": "/etc/resolv.conf", "ReadOnly": True},
        {"Type": "bind", "Source": "/s", "Target": "/run/secrets/s", "ReadOnly": True},
        {"Type": "volume", "Source": "v", "Target": "/b", "ReadOnly": False},
    ]


TWO = SandboxPlan(
    networks=(
        EngineNetwork(name="n1", address="10.0.1.3", mac="02:42:0a:00:01:03", aliases=("web",)),
        EngineNetwork(name="n2", address="10.0.2.3"),
    )
)


def test_a_new_engine_gets_all_networks_at_create_and_the_first_carries_the_default_route() -> None:
    body = create_body(plan(sandbox=TWO), NEW)
    assert body["NetworkingConfig"] == {
        "EndpointsConfig": {
            "n1": {
                "IPAMConfig": {"IPv4Address": "10.0.1.3"},
                "Aliases": ["web"],
                "MacAddress": "02:42:0a:00:01:03",
                "GwPriority": 1000,
            },
            "n2": {"IPAMConfig": {"IPv4Address": "10.0.2.3"}},
        }
    }
    assert body["HostConfig"]["NetworkMode"] == "n1"
    assert "MacAddress" not in body
    assert later_networks(plan(sandbox=TWO), NEW) == ()


def test_an_old_engine_gets_one_network_at_create_and_the_others_before_the_start() -> None:
    body = create_body(plan(sandbox=TWO), OLD)
    assert list(body["NetworkingConfig"]["EndpointsConfig"]) == ["n1"]
    assert body["MacAddress"] == "02:42:0a:00:01:03"
    assert [network.name for network in later_networks(plan(sandbox=TWO), OLD)] == ["n2"]


def test_the_hosts_own_network_has_no_endpoint() -> None:
    body = create_body(plan(sandbox=SandboxPlan(networks=(EngineNetwork(name="host"),))), NEW)
    assert (body["HostConfig"]["NetworkMode"], body["NetworkingConfig"]) == ("host", {"EndpointsConfig": {}})


def test_host_ports_are_published_by_the_engine() -> None:
    ports = (
        PortConfig(protocol="tcp", target_port=80, published_port=8080, publish_mode="host"),
        PortConfig(protocol="udp", target_port=53, publish_mode="host", host_ip="127.0.0.1"),
    )
    body = create_body(plan(host_ports=ports), NEW)
    assert body["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert body["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}],
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": ""}],
    }
    shown = {"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}], "443/tcp": None}}
    assert list(published_ports(shown)) == [PortConfig(protocol="tcp", target_port=80, published_port=8080, publish_mode="host")]


def test_versions_are_numbers_not_text() -> None:
    assert parse_version("v1.9") < parse_version("1.41")
