"""Avance: one highly available virtualisation server out of two ordinary machines and an Ethernet cable."""

__version__ = "0.1.0"

CONTROL_SOCKET = "/run/avance/control.sock"  # where the daemon listens for `avance` and for fence-peer
