"""What every test needs before anything imports grpc."""

from cluster.rpc.tls import prepare_environment

prepare_environment()
