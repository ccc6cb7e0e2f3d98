"""Towards the platform: the interface of PROTOCOL.md in both directions."""
