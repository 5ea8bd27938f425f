"""What every test needs: grpc's environment before anything imports it, and properties that no slow machine refutes."""

from hypothesis import HealthCheck, settings

from cluster.rpc.tls import prepare_environment

prepare_environment()
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
