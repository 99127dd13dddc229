"""A file of a model run again and again, by instances side by side: latency, throughput, memory."""

from __future__ import annotations
