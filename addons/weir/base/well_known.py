"""Paths of the gateway's own documents (RFC 8615)."""

#: RFC 9728, 3: a resource's path stands behind it.
PROTECTED_RESOURCE = "/.well-known/oauth-protected-resource"
WHOAMI = "/.well-known/weir/whoami"
#: Before the id of an approval: what its requester may know of it.
APPROVALS = "/.well-known/weir/approvals/"
