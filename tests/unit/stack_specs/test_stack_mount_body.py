"""Mounts are sent as docker sends them, and what they name must be declared."""

import pytest

from stack_specs.errors import StackError
from stack_specs.values import Json
from tests.unit.stack_specs.stack_files import container, planned, stack_of

VOLUMES = """
volumes:
  plain:
  named: {name: real}
  out: {external: true}
  nfs: {driver: local, driver_opts: {type: nfs, device: ':/p'}, labels: [a=b]}
  none: {driver_opts: {}}
"""
STACK = {"com.docker.stack.namespace": "shop"}


@pytest.mark.parametrize(
    ("volume", "mount"),
    [
        ("/data", {"Type": "volume", "Target": "/data"}),
        ("plain:/x:ro", {"Type": "volume", "Source": "shop_plain", "Target": "/x", "ReadOnly": True, "VolumeOptions": {"Labels": STACK}}),
        ("named:/x", {"Type": "volume", "Source": "real", "Target": "/x", "VolumeOptions": {"Labels": STACK}}),
        ("out:/x:nocopy", {"Type": "volume", "Source": "out", "Target": "/x", "VolumeOptions": {"NoCopy": True}}),
        (
            "nfs:/x",
            {
                "Type": "volume",
                "Source": "shop_nfs",
                "Target": "/x",
                "VolumeOptions": {
                    "Labels": {"a": "b", **STACK},
                    "DriverConfig": {"Name": "local", "Options": {"type": "nfs", "device": ":/p"}},
                },
            },
        ),
        ("none:/x", {"Type": "volume", "Source": "shop_none", "Target": "/x", "VolumeOptions": {"Labels": STACK, "DriverConfig": {}}}),
        ("/a:/b:rshared", {"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {"Propagation": "rshared"}}),
        (
            "{type: bind, source: /a, target: /b, bind: {}, consistency: cached}",
            {"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {}, "Consistency": "cached"},
        ),
        ("{type: tmpfs, target: /t}", {"Type": "tmpfs", "Target": "/t"}),
        ("{type: tmpfs, target: /t, tmpfs: {size: 5}}", {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 5}}),
        ("{type: npipe, source: x, target: y}", {"Type": "npipe", "Source": "x", "Target": "y"}),
        ("{type: image, source: x, target: y}", {"Type": "image", "Source": "x", "Target": "y"}),
        ("{type: cluster, source: 'group:g', target: /x}", {"Type": "cluster", "Source": "group:g", "Target": "/x", "ClusterOptions": {}}),
        ("{type: cluster, source: plain, target: /x}", {"Type": "cluster", "Source": "shop_plain", "Target": "/x", "ClusterOptions": {}}),
        ("{type: volume, target: /x}", {"Type": "volume", "Target": "/x"}),
        ("{type: '', target: /x}", {"Target": "/x"}),
    ],
)
def test_a_mount_is_sent_as(volume: str, mount: Json) -> None:
    assert container(f"volumes:\n  - {volume}", VOLUMES)["Mounts"] == [mount]


@pytest.mark.parametrize(
    ("volume", "says"),
    [
        ("nope:/x", '.0: undefined volume "nope"; declare it under the top-level `volumes:`'),
        ("{type: cluster, source: nope, target: /x}", '.0: undefined volume "nope"'),
        ("{type: floppy, target: /x}", ".0.type: volume type must be volume, bind, tmpfs, npipe, cluster or image, but is floppy"),
        ("{type: tmpfs, source: x, target: /x}", ".0.source: invalid tmpfs source, source must be empty"),
        ("{type: cluster, target: /x}", ".0: invalid cluster source, source cannot be empty"),
        ("{type: tmpfs, target: /x, bind: {}}", ".0: bind options are incompatible with type tmpfs"),
        ("{type: volume, target: /x, tmpfs: {}}", ".0: tmpfs options are incompatible with type volume"),
        ("/a:/b:nocopy", ".0: volume options are incompatible with type bind"),
    ],
)
def test_a_bad_mount_is_refused_with_its_line(volume: str, says: str) -> None:
    with pytest.raises(StackError) as caught:
        planned(stack_of(f"volumes:\n  - {volume}", VOLUMES))
    assert f"stack1.yml:5: services.web.volumes{says}" in str(caught.value)
