"""The gateway over gRPC, between real servers on loopback."""
