"""Paths of the documents that the gateway itself answers with."""

#: Metadata of a protected resource (RFC 9728, 3). The path of the resource follows.
PROTECTED_RESOURCE = "/.well-known/oauth-protected-resource"
#: The caller, as the gateway sees them.
WHOAMI = "/.well-known/weir/whoami"
