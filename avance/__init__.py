"""Avance: one highly available virtualisation server out of two ordinary machines and an Ethernet cable."""

__version__ = "0.1.0"
