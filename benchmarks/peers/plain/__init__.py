"""A plain grpc.aio fan-out: what a team writes in a day, four model servers and a gateway."""
