"""Devices as data: what each can run, how fast, and how the devices are connected."""
