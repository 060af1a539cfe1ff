"""WebSockets (RFC 6455): who may open one, and what is said over it."""
