"""What every gRPC process shares: configuration, server, batching, metrics, errors.

It knows the protocols and the artifact format, and no service: each service and
the gateway is a small file over this package.
"""
