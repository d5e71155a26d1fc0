"""The gateway's HTTP API: requests, signatures, callbacks and the transports that send."""
